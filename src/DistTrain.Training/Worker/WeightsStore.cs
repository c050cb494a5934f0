using DistTrain.Core.Channels;
using DistTrain.Core.Layout;
using DistTrain.Kernels;

namespace DistTrain.Training.Worker;

/// <summary>
/// The worker's copy of the weights, two versions of it: version v lies in half v mod 2. Channels write buckets as
/// they arrive; a version that would overwrite one that is being computed with waits.
/// </summary>
internal sealed class WeightsStore : IWeightsSink, IDisposable
{
    private const long Nothing = -1;

    private readonly BucketPlan _plan;
    private readonly NativeBuffer[] _halves;
    private readonly long[] _versions;
    private readonly long _term;
    private readonly Action<long> _complete;
    private readonly AverageStore _averages;
    private readonly Lock _lock = new();
    private readonly int[] _arrived = new int[2];
    private readonly long[] _version = [Nothing, Nothing];
    private long _inUse = Nothing;
    private TaskCompletionSource? _released;

    /// <summary>
    /// <paramref name="complete"/> is called with a version when its last bucket has arrived,
    /// <paramref name="averagesComplete"/> when that of its averages has.
    /// </summary>
    public WeightsStore(ParameterLayout layout, BucketPlan plan, long term, Action<long> complete, Action<long>? averagesComplete = null)
    {
        _averages = new AverageStore(layout, plan, averagesComplete ?? (_ => { }));
        (_plan, _term, _complete) = (plan, term, complete);
        _halves = [new NativeBuffer(layout.Length), new NativeBuffer(layout.Length)];
        _versions = [.. plan.Buckets.Select(_ => Nothing)];
    }

    /// <summary>The flat vector at a complete version; valid until version + 2 may arrive: see <see cref="Use"/>.</summary>
    public unsafe float* At(long version) => _halves[version & 1].Pointer;

    /// <summary>The averages of the weights at the version that was reported last.</summary>
    public unsafe float* Averages => _averages.Pointer;

    /// <summary>Protects a version, or with null none, from being overwritten.</summary>
    public void Use(long? version)
    {
        TaskCompletionSource? released;
        lock (_lock)
        {
            _inUse = version ?? Nothing;
            (released, _released) = (_released, null);
        }

        released?.SetResult();
    }

    /// <inheritdoc/>
    public async ValueTask<NativeSpan> BeginAsync(WeightsHeader header, CancellationToken cancellation)
    {
        if (header.Term != _term || (uint)header.Bucket >= (uint)_versions.Length || header.Version < 0) return default;
        if (header.Averaged) return _averages.Begin(header);
        while (true)
        {
            Task wait;
            lock (_lock)
            {
                // Buckets come in ascending versions from one server, so an older one is a repeat after a reconnection.
                // A half never goes back either: with several servers, one may still send a version that another has passed.
                if (header.Version <= _versions[header.Bucket] || header.Version < _version[header.Version & 1]) return default;
                bool overwrites = _inUse != Nothing && header.Version > _inUse && ((header.Version - _inUse) & 1) == 0;
                if (!overwrites) return Place(header);

                wait = (_released ??= new(TaskCreationOptions.RunContinuationsAsynchronously)).Task;
            }

            await wait.WaitAsync(cancellation);
        }
    }

    /// <inheritdoc/>
    public void Complete(WeightsHeader header)
    {
        if (header.Averaged)
        {
            _averages.Complete(header);
            return;
        }

        lock (_lock)
        {
            int half = (int)(header.Version & 1);
            if (header.Version < _version[half]) return;
            _versions[header.Bucket] = header.Version;
            if (++_arrived[half] < _plan.Buckets.Length) return;
        }

        _complete(header.Version);
    }

    /// <inheritdoc/>
    public void Abort(WeightsHeader header)
    {
    }

    /// <summary>Frees both halves and the averages. Only when no channel writes any more.</summary>
    public void Dispose()
    {
        _averages.Dispose();
        foreach (NativeBuffer half in _halves) half.Dispose();
    }

    // From its first byte on, the half is the new version's: what it held before can't be reported any more.
    private unsafe NativeSpan Place(WeightsHeader header)
    {
        int half = (int)(header.Version & 1);
        if (_version[half] != header.Version) (_version[half], _arrived[half]) = (header.Version, 0);
        Bucket bucket = _plan.Buckets[header.Bucket];
        return new NativeSpan((nint)(At(header.Version) + bucket.Offset), bucket.Length);
    }
}
