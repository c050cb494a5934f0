using DistTrain.Core.Channels;
using DistTrain.Core.Layout;
using DistTrain.Kernels;

namespace DistTrain.Training.Worker;

/// <summary>
/// The worker's copy of the weights' averages, at the newest version that is evaluated; made when the first ones come. A
/// version comes when the evaluation of the one before is done, so nobody waits for what it overwrites.
/// </summary>
internal sealed class AverageStore(ParameterLayout layout, BucketPlan plan, Action<long> complete) : IDisposable
{
    private readonly Lock _lock = new();
    private readonly long[] _versions = [.. plan.Buckets.Select(_ => -1L)];
    private NativeBuffer? _values;
    private long _version = -1;
    private int _arrived;

    /// <summary>The flat vector at the version that was reported last.</summary>
    public unsafe float* Pointer => _values!.Pointer;

    /// <summary>The place for a bucket, or an address of 0 for one that has been passed or is there.</summary>
    public unsafe NativeSpan Begin(WeightsHeader header)
    {
        lock (_lock)
        {
            if (header.Version < _version || header.Version <= _versions[header.Bucket]) return default;
            if (header.Version > _version) (_version, _arrived) = (header.Version, 0);
            _values ??= new NativeBuffer(layout.Length);
            Bucket bucket = plan.Buckets[header.Bucket];
            return new NativeSpan((nint)(_values.Pointer + bucket.Offset), bucket.Length);
        }
    }

    /// <summary>A bucket stands in its place; the last one of a version reports it.</summary>
    public void Complete(WeightsHeader header)
    {
        lock (_lock)
        {
            if (header.Version < _version) return;
            _versions[header.Bucket] = header.Version;
            if (++_arrived < plan.Buckets.Length) return;
        }

        complete(header.Version);
    }

    /// <inheritdoc/>
    public void Dispose() => _values?.Dispose();
}
