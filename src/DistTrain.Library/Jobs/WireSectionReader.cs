using DistTrain.Core.Config;
using DistTrain.Kernels;

namespace DistTrain.Jobs;

/// <summary>Reads the job's <c>wire</c> section, and writes it back.</summary>
internal static class WireSectionReader
{
    private const double SmallestFraction = 1e-6;

    // Above this the indices would cost what leaving values out saves.
    private const double LargestFraction = 0.5;

    public static WireSection Read(ConfigNode node)
    {
        var wire = new WireSection();
        if (node.Find("gradients") is { } gradients) wire = ReadGradients(wire, gradients);
        if (node.Find("weights") is { } weights) wire = wire with { Weights = ReadWeights(weights) };
        node.RefuseUnknownKeys();
        return wire;
    }

    /// <summary>Refuses what doesn't go with the rest of the job.</summary>
    public static void Check(Job job, ConfigNode root)
    {
        if (job.Wire.Gradients != GradientWire.TopK) return;
        ConfigNode at = root.Find("wire")?.Find("gradients") ?? root;
        if (job.Cluster.Verify > 0) throw at.Error("'top_k' does not go with cluster.verify: what a worker holds back is its own, so that nobody else comes to the same bits");
        if (job.Checkpoint.Every.Period is not null) throw at.Error("'top_k' does not go with checkpoint.every in time: steps that lead to a checkpoint send everything, so that the bits would depend on the clock on the wall; take steps or epochs");
        if (job.Training.Precision != FloatFormat.Float16) return;
        throw at.Error("'top_k' does not go with training.precision: fp16, whose loss scale changes while gradients are held back under the old one; take bf16, or wire.gradients: int8");
    }

    /// <summary>The section as it was given; null where nothing was.</summary>
    public static YamlTree? Write(WireSection wire) => wire.Gradients is null && wire.Weights is null
        ? null
        : JobTree.Map(("gradients", wire.Gradients is { } way ? Way(way, wire.Fraction) : null), ("weights", wire.Weights is { } format ? Format(format) : null));

    /// <summary>What of it decides the bits: null where it is what the precision implies.</summary>
    public static YamlTree? WriteBits(Job job)
    {
        GradientWire way = job.Wire.GradientsFor(job.Training.Precision);
        FloatFormat weights = job.Wire.WeightsFor(job.Training.Precision);
        YamlTree bits = JobTree.Map(
            ("gradients", way == WireSection.Implied(job.Training.Precision) ? null : Way(way, job.Wire.Fraction)),
            ("weights", weights == job.Training.Precision ? null : Format(weights)));
        return bits.Entries.Count == 0 ? null : bits;
    }

    private static WireSection ReadGradients(WireSection wire, ConfigNode node)
    {
        NamedChoice choice = NamedChoice.Read(node, "format", [.. WireSection.GradientNames]);
        var way = (GradientWire)WireSection.GradientNames.ToList().IndexOf(choice.Name);
        double fraction = WireSection.DefaultFraction;
        if (way != GradientWire.TopK) choice.RefuseOptions();
        else
        {
            fraction = choice.HasMainValue ? choice.Options.AsNumber(SmallestFraction, LargestFraction) : choice.Options.Number("fraction", fraction, SmallestFraction, LargestFraction);
            choice.RefuseUnknown();
        }

        return wire with { Gradients = way, Fraction = fraction };
    }

    private static FloatFormat ReadWeights(ConfigNode node) => node.AsText() switch
    {
        "fp32" => FloatFormat.Float32,
        "bf16" => FloatFormat.BFloat16,
        "fp16" => FloatFormat.Float16,
        _ => throw node.Error($"expected fp32, bf16 or fp16, got {node.Describe()}"),
    };

    private static YamlTree Way(GradientWire way, double fraction)
    {
        YamlTree name = JobTree.Text(WireSection.GradientNames[(int)way])!;
        return way == GradientWire.TopK ? JobTree.Map((name.Text!, JobTree.Map(("fraction", JobTree.Number(fraction))))) : name;
    }

    private static YamlTree Format(FloatFormat format) => JobTree.Text(WireSection.GradientNames[(int)format])!;
}
