using DistTrain.Kernels;

namespace DistTrain.Jobs;

/// <summary>How gradients travel to the parameter servers.</summary>
public enum GradientWire
{
    /// <summary>As they are.</summary>
    Float32,

    /// <summary>Rounded to bf16 at every node of the shard tree.</summary>
    BFloat16,

    /// <summary>Rounded to fp16 at every node of the shard tree.</summary>
    Float16,

    /// <summary>Rounded at random to 255 steps of a scale for each 4,096 of them, at every node of the shard tree.</summary>
    Int8,

    /// <summary>Of each 4,096 the largest, with error feedback.</summary>
    TopK,
}

/// <summary>The <c>wire</c> section: how tensors travel. It decides the bits. Null is what <c>training.precision</c> implies.</summary>
public sealed record WireSection
{
    /// <summary>The share that <see cref="GradientWire.TopK"/> sends when none is given.</summary>
    public const double DefaultFraction = 0.01;

    /// <summary>Gradients, to the servers.</summary>
    public GradientWire? Gradients { get; init; }

    /// <summary>Which share of the gradients <see cref="GradientWire.TopK"/> sends, above 0 to a half.</summary>
    public double Fraction { get; init; } = DefaultFraction;

    /// <summary>Weights, to the workers; the servers' own, which checkpoints hold, stay fp32.</summary>
    public FloatFormat? Weights { get; init; }

    /// <summary>How gradients travel where values between layers have this precision.</summary>
    public GradientWire GradientsFor(FloatFormat precision) => Gradients ?? Implied(precision);

    /// <summary>How weights travel where values between layers have this precision.</summary>
    public FloatFormat WeightsFor(FloatFormat precision) => Weights ?? precision;

    /// <summary>The names of the ways of gradients, as a job writes them, in their own order.</summary>
    internal static IReadOnlyList<string> GradientNames { get; } = ["fp32", "bf16", "fp16", "int8", "top_k"];

    /// <summary>How gradients travel unless something else is said.</summary>
    internal static GradientWire Implied(FloatFormat precision) => precision switch
    {
        FloatFormat.BFloat16 => GradientWire.BFloat16,
        FloatFormat.Float16 => GradientWire.Float16,
        _ => GradientWire.Float32,
    };
}
