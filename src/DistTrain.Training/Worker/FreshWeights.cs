using DistTrain.Core;
using DistTrain.Core.Channels;
using DistTrain.Core.Layout;
using DistTrain.Core.Memory;
using DistTrain.Core.Tracing;
using DistTrain.Kernels;

namespace DistTrain.Training.Worker;

/// <summary>
/// The worker's copy of the weights where steps don't wait for each other. Buckets are copied when they arrive, whatever is being
/// computed; <see cref="Refresh"/> takes those that are new over into the vector that is computed with, so that forward and
/// backward of a computation see the same weights. A bucket that a server changes while it is sent has some elements from before
/// the update and some from after it. Channels call from their threads, the worker from its own.
/// </summary>
internal sealed class FreshWeights : IWeightsSink, IDisposable
{
    private const long Nothing = -1;

    private readonly BucketPlan _plan;
    private readonly long _term;
    private readonly Action _arrived;
    private readonly AverageStore _averages;
    private readonly ValueFormat _wire;
    private readonly NativeBuffer _incoming;
    private readonly NativeBuffer _current;
    private readonly Bucketful[] _buckets;
    private readonly Lock _lock = new();
    private bool _awaited;

    /// <summary><paramref name="arrived"/> is called when something came after <see cref="Await"/>, <paramref name="averagesComplete"/> with a version whose averages are there.</summary>
    public FreshWeights(ParameterLayout layout, BucketPlan plan, long term, Action arrived, Action<long> averagesComplete, ValueFormat wire)
    {
        (_plan, _term, _arrived, _wire) = (plan, term, arrived, wire);
        _averages = new AverageStore(layout, plan, averagesComplete);
        _incoming = new NativeBuffer(wire.Words(layout.Length));
        _current = new NativeBuffer(layout.Length);
        _buckets = [.. plan.Buckets.Select(_ => new Bucketful())];
    }

    /// <summary>Where arrivals are recorded; null for nowhere.</summary>
    public TraceRecorder? Trace { get; init; }

    /// <summary>The flat vector as of the last <see cref="Refresh"/>.</summary>
    public unsafe float* Pointer => _current.Pointer;

    /// <summary>The averages of the weights at the version that was reported last.</summary>
    public unsafe float* Averages => _averages.Pointer;

    /// <summary>The steps below are in the vector whole; -1 before every bucket has come once.</summary>
    public long Version { get; private set; } = Nothing;

    /// <summary>Has <c>arrived</c> called, once, when something comes from now on.</summary>
    public void Await()
    {
        lock (_lock) _awaited = true;
    }

    /// <summary>Takes over what has come.</summary>
    public unsafe void Refresh()
    {
        long version = long.MaxValue;
        for (int b = 0; b < _buckets.Length; b++)
        {
            Bucketful bucket = _buckets[b];
            Bucket range = _plan.Buckets[b];
            // One bucket at a time: a channel waits no longer than that.
            lock (_lock)
            {
                if (!bucket.IsArriving)
                {
                    if (bucket.Updates > bucket.CurrentUpdates) TakeOver(range);
                    (bucket.CurrentUpdates, bucket.CurrentVersion) = (bucket.Updates, bucket.Version);
                }

                version = Math.Min(version, bucket.CurrentVersion);
            }
        }

        Version = version;
    }

    /// <summary>Whether servers are done with this worker's segments up to this number, of every bucket.</summary>
    public bool IsTaken(long number)
    {
        foreach (Bucketful bucket in _buckets)
        {
            if (Volatile.Read(ref bucket.Taken) <= number) return false;
        }

        return true;
    }

    /// <inheritdoc/>
    public ValueTask<NativeSpan> BeginAsync(WeightsHeader header, CancellationToken cancellation) => ValueTask.FromResult(Begin(header));

    /// <inheritdoc/>
    public ValueTask ReadAsync(WeightsHeader header, NativeSpan source, SharedRegion? region, CancellationToken cancellation)
    {
        NativeSpan place = Begin(header);
        if (place.Address == 0) return ValueTask.CompletedTask;
        if (place.Length != source.Length) throw new DistTrainException(ExitCode.ClusterLost, $"bucket {header.Bucket} came with {source.Length} words, expected {place.Length}");
        source.Span.CopyTo(place.Span);
        Complete(header);
        return ValueTask.CompletedTask;
    }

    /// <inheritdoc/>
    public void Complete(WeightsHeader header)
    {
        if (header.Averaged)
        {
            _averages.Complete(header);
            return;
        }

        Trace.Mark(TraceName.Arrived, header.Version, header.Bucket, onChannel: true);

        lock (_lock)
        {
            Bucketful bucket = _buckets[header.Bucket];
            (bucket.IsArriving, bucket.Updates, bucket.Version) = (false, header.Updates, header.Version);
        }

        Wake();
    }

    /// <inheritdoc/>
    public void Abort(WeightsHeader header)
    {
        if (header.Averaged) return;
        // What lies there is of no version until the bucket comes again, as it does first on the next connection.
        lock (_lock) _buckets[header.Bucket].Updates = Nothing;
    }

    /// <summary>Frees the vectors. Only when no channel writes any more.</summary>
    public void Dispose()
    {
        _averages.Dispose();
        _incoming.Dispose();
        _current.Dispose();
    }

    private unsafe NativeSpan Begin(WeightsHeader header)
    {
        if (header.Term != _term || (uint)header.Bucket >= (uint)_buckets.Length || header.Version < 0) return default;
        if (header.Averaged) return _averages.Begin(header);
        Bucketful bucket = _buckets[header.Bucket];
        bool isNew;
        lock (_lock)
        {
            Volatile.Write(ref bucket.Taken, Math.Max(bucket.Taken, header.Taken));
            isNew = header.Updates > bucket.Updates;
            if (isNew) bucket.IsArriving = true;
            else if (!bucket.IsArriving) bucket.Version = Math.Max(bucket.Version, header.Version);
        }

        if (isNew) return Place(_plan.Buckets[header.Bucket]);
        Wake();
        return default;
    }

    private void Wake()
    {
        lock (_lock)
        {
            if (!_awaited) return;
            _awaited = false;
        }

        _arrived();
    }

    private unsafe NativeSpan Place(Bucket range) => new((nint)(_incoming.Pointer + _wire.Words(range.Offset)), _wire.Words(range.Length));

    private unsafe void TakeOver(Bucket range)
    {
        float* to = _current.Pointer + range.Offset;
        if (_wire.IsExact) Place(range).Span.CopyTo(new Span<float>(to, range.Length));
        else _wire.Unpack(Place(range), to, range.Length);
    }

    private sealed class Bucketful
    {
        public bool IsArriving;
        public long Updates = Nothing;
        public long Version = Nothing;
        public long CurrentUpdates = Nothing;
        public long CurrentVersion = Nothing;
        public long Taken;
    }
}
