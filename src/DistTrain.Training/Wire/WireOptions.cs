using DistTrain.Kernels;

namespace DistTrain.Training;

/// <summary>How tensors of a job travel.</summary>
/// <param name="Gradients">Segments, to the servers.</param>
/// <param name="Weights">Weights, to the workers; the servers' own stay fp32.</param>
public sealed record WireOptions(WireFormat Gradients, ValueFormat Weights)
{
    /// <summary>fp32 both ways.</summary>
    public static WireOptions Exact { get; } = new(WireFormat.Exact, WireFormat.Exact);

    /// <summary>One format both ways.</summary>
    public static WireOptions Of(FloatFormat format) => new(WireFormat.Of(format), WireFormat.Of(format));
}
