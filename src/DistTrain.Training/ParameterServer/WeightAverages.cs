using System.Collections.Immutable;
using DistTrain.Core.Channels;
using DistTrain.Core.Layout;
using DistTrain.Kernels;

namespace DistTrain.Training.ParameterServer;

/// <summary>That a moving average of the weights is kept, and evaluated in their place.</summary>
/// <param name="Decay">How much of it stays at each step.</param>
/// <param name="IsEvaluated">Whether a version is evaluated: its averages are published.</param>
public sealed record WeightAveraging(double Decay, Func<long, bool> IsEvaluated);

/// <summary>
/// A partition's averages, at one version: after each update avg = decay · avg + (1 - decay) · weights, beginning with the seed's
/// weights; buffers are copied. Nothing beyond an evaluated version is granted before its evaluation is done, so
/// they stand still while somebody may need them.
/// </summary>
internal sealed unsafe class WeightAverages(WeightAveraging rule, Partition partition) : IDisposable
{
    private readonly NativeBuffer _values = new(partition.Length);

    /// <summary>A range of them, by offset in the flat vector.</summary>
    public NativeSpan Range(long offset, int length) => new((nint)(_values.Pointer + (offset - partition.Offset)), length);

    /// <summary>Whether those of a version are published.</summary>
    public bool Published(long version) => rule.IsEvaluated(version);

    /// <summary>Takes a bucket to its next version.</summary>
    /// <param name="bucket">The bucket.</param>
    /// <param name="ranges">Its ranges.</param>
    /// <param name="weights">Its weights at that version.</param>
    public void Advance(Bucket bucket, ImmutableArray<UpdateRange> ranges, NativeSpan weights)
    {
        foreach (UpdateRange range in ranges)
        {
            var average = (float*)Range(range.Offset, range.Length).Address;
            float* now = (float*)weights.Address + (range.Offset - bucket.Offset);
            if (range.Role == TensorRole.Buffer) Elementwise.Copy(now, average, range.Length, KernelPool.Single);
            else AverageKernel.Update(rule.Decay, average, now, range.Length, KernelPool.Single);
        }
    }

    /// <inheritdoc/>
    public void Dispose() => _values.Dispose();
}
