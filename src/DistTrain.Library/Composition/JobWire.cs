using DistTrain.Jobs;
using DistTrain.Kernels;
using DistTrain.Training;

namespace DistTrain.Composition;

/// <summary>Puts together how a job's tensors travel.</summary>
internal static class JobWire
{
    /// <summary>How weights travel.</summary>
    public static ValueFormat Weights(Job job) => WireFormat.Of(job.Wire.WeightsFor(job.Training.Precision));

    /// <summary>How all tensors travel.</summary>
    public static WireOptions Options(JobContext context)
    {
        WireFormat gradients = context.Job.Wire.GradientsFor(context.Job.Training.Precision) switch
        {
            GradientWire.Float32 => WireFormat.Exact,
            GradientWire.BFloat16 => WireFormat.Of(FloatFormat.BFloat16),
            GradientWire.Float16 => WireFormat.Of(FloatFormat.Float16),
            GradientWire.Int8 => new Int8Format(context.Model.Layout, context.Job.Seed),
            GradientWire.TopK => new TopKFormat(context.Model.Layout, context.Job.Wire.Fraction),
            GradientWire way => throw new ArgumentOutOfRangeException(nameof(context), way, "no such way of gradients"),
        };
        return new WireOptions(gradients, Weights(context.Job));
    }

    /// <summary>What the user should know of it before training begins; null for nothing.</summary>
    public static string? Note(Job job) => job.Wire.Gradients switch
    {
        GradientWire.Float16 when job.Training.Precision != FloatFormat.Float16 =>
            "wire.gradients: fp16 without training.precision: fp16, so the loss isn't scaled: sums of gradients over a shard vanish below 6e-8, and from 65,520 on they end the training",
        GradientWire.TopK => "wire.gradients: top_k: each worker holds back what it doesn't send, so the weights depend on which worker computes which shards",
        _ => null,
    };
}
