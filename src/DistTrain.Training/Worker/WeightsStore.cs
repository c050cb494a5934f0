using DistTrain.Core;
using DistTrain.Core.Channels;
using DistTrain.Core.Layout;
using DistTrain.Core.Memory;
using DistTrain.Core.Tracing;
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
    private readonly NativeBuffer[] _halves = [];
    private readonly OverlayMemory?[] _overlays = [];
    private readonly bool[][] _shown;
    private readonly NativeBuffer[] _packed = [];
    private readonly ValueFormat _wire;
    private readonly long[] _versions;
    private readonly long _term;
    private readonly Action<long> _complete;
    private readonly AverageStore _averages;
    private readonly Lock _lock = new();
    private readonly int[] _arrived = new int[2];
    private readonly long[] _version = [Nothing, Nothing];
    private (long Version, long Start, long End)? _awaited;
    private long _inUse = Nothing;
    private long _newest = Nothing;
    private TaskCompletionSource? _released;

    /// <summary>
    /// <paramref name="complete"/> is called with a version when its last bucket has arrived,
    /// <paramref name="averagesComplete"/> when that of its averages has.
    /// </summary>
    public WeightsStore(
        ParameterLayout layout, BucketPlan plan, long term, Action<long> complete, Action<long>? averagesComplete = null, ValueFormat? wire = null, bool share = false)
    {
        _averages = new AverageStore(layout, plan, averagesComplete ?? (_ => { }));
        (_plan, _term, _complete, _wire) = (plan, term, complete, wire ?? WireFormat.Exact);
        if (!_wire.IsExact) _packed = [new NativeBuffer(_wire.Words(layout.Length)), new NativeBuffer(_wire.Words(layout.Length))];
        if (share && _wire.IsExact) _overlays = [OverlayMemory.Create(layout.Length), OverlayMemory.Create(layout.Length)];
        if (!Array.TrueForAll(_overlays, o => o is not null)) _overlays = [];
        if (_overlays.Length == 0) _halves = [new NativeBuffer(layout.Length), new NativeBuffer(layout.Length)];
        _shown = [new bool[plan.Buckets.Length], new bool[plan.Buckets.Length]];
        _versions = [.. plan.Buckets.Select(_ => Nothing)];
    }

    /// <summary>Called when what <see cref="Has(long, long, long)"/> was asked for is there.</summary>
    public Action? Arrived { get; init; }

    /// <summary>Where arrivals are recorded; null for nowhere.</summary>
    public TraceRecorder? Trace { get; init; }

    /// <summary>The flat vector at a complete version; valid until version + 2 may arrive: see <see cref="Use"/>.</summary>
    public unsafe float* At(long version) => _overlays.Length > 0 ? _overlays[version & 1]!.Pointer : _halves[version & 1].Pointer;

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

    /// <summary>
    /// Whether elements [start, end) have arrived at a version, or a later one of the same half. If not, <c>arrived</c> is
    /// called once when they have; of several such questions the last one counts.
    /// </summary>
    public bool Has(long version, long start, long end)
    {
        bool over;
        lock (_lock)
        {
            if (HasAll(version, start, end)) return true;
            over = IsOver(version);
            _awaited = over ? null : (version, start, end);
        }

        // It won't come: whoever asked has to look again.
        if (over) Arrived?.Invoke();
        return false;
    }

    /// <summary>Whether a bucket has arrived at a version or a later one, without asking for it.</summary>
    public bool Has(long version, Bucket bucket)
    {
        lock (_lock) return _versions[bucket.Index] >= version;
    }

    /// <summary>
    /// Whether a step is committed for certain, because something of the version after its own came. A worker that lagged may never get
    /// the step's weights whole then, as it skips versions, and must not keep newer ones from coming.
    /// </summary>
    public bool IsOver(long step) => Interlocked.Read(ref _newest) > step + 1;

    /// <summary>
    /// True when a step turns out to be over although it is still computed here: another worker did the same shards, and the weights may be
    /// of several versions. Waits a little for word of it where weights are read in the servers' memory, who may have overwritten them.
    /// </summary>
    /// <remarks>
    /// A server announces version step + 1 of a bucket before anybody can need the memory of version step anew, so whoever read torn
    /// weights hears of it. Without the shards in hand, no server can complete the step.
    /// </remarks>
    public bool IsPassed(long step, TimeSpan patience)
    {
        return SpinWait.SpinUntil(IsPassed, _overlays.Length == 0 ? TimeSpan.Zero : patience);

        bool IsPassed()
        {
            lock (_lock) return Array.Exists(_versions, v => v > step);
        }
    }

    private bool HasAll(long version, long start, long end)
    {
        // Each bucket's versions ascend, and no half is written before its version is nobody's.
        foreach (Bucket bucket in _plan.Buckets)
        {
            if (bucket.End > start && bucket.Offset < end && _versions[bucket.Index] < version) return false;
        }

        return true;
    }

    /// <inheritdoc/>
    public ValueTask<NativeSpan> BeginAsync(WeightsHeader header, CancellationToken cancellation) => BeginAsync(header, shows: false, cancellation);

    /// <inheritdoc/>
    public async ValueTask ReadAsync(WeightsHeader header, NativeSpan source, SharedRegion? region, CancellationToken cancellation)
    {
        bool shows = region is not null && _overlays.Length > 0 && !header.Averaged;
        NativeSpan place = await BeginAsync(header, shows, cancellation);
        if (place.Address == 0) return;
        if (place.Length != source.Length) throw new DistTrainException(ExitCode.ClusterLost, $"bucket {header.Bucket} came with {source.Length} words, expected {place.Length}");
        if (shows) Show(header, source, region!);
        else source.Span.CopyTo(place.Span);
        Complete(header);
    }

    private async ValueTask<NativeSpan> BeginAsync(WeightsHeader header, bool shows, CancellationToken cancellation)
    {
        if (header.Term != _term || (uint)header.Bucket >= (uint)_versions.Length || header.Version < 0) return default;
        if (header.Averaged) return _averages.Begin(header);
        while (true)
        {
            Task wait;
            bool stuck;
            lock (_lock)
            {
                _newest = Math.Max(_newest, header.Version);
                // Buckets come in ascending versions from one server, so an older one is a repeat after a reconnection.
                // A half never goes back either: with several servers, one may still send a version that another has passed.
                if (header.Version <= _versions[header.Bucket] || header.Version < _version[header.Version & 1]) return default;
                bool overwrites = _inUse != Nothing && header.Version > _inUse && ((header.Version - _inUse) & 1) == 0;
                if (!overwrites) return Place(header, shows);

                wait = (_released ??= new(TaskCreationOptions.RunContinuationsAsynchronously)).Task;
                // What waits for the rest of the version in use waits in vain.
                stuck = _awaited is not null;
                _awaited = null;
            }

            if (stuck) Arrived?.Invoke();
            await wait.WaitAsync(cancellation);
        }
    }

    /// <inheritdoc/>
    public unsafe void Complete(WeightsHeader header)
    {
        if (header.Averaged)
        {
            _averages.Complete(header);
            return;
        }

        if (!_wire.IsExact)
        {
            Bucket bucket = _plan.Buckets[header.Bucket];
            _wire.Unpack(Packed(header), At(header.Version) + bucket.Offset, bucket.Length);
        }

        Trace.Mark(TraceName.Arrived, header.Version, header.Bucket, onChannel: true);
        bool complete, awaited;
        lock (_lock)
        {
            int half = (int)(header.Version & 1);
            if (header.Version < _version[half]) return;
            _versions[header.Bucket] = header.Version;
            complete = ++_arrived[half] == _plan.Buckets.Length;
            awaited = _awaited is { } what && HasAll(what.Version, what.Start, what.End);
            if (awaited) _awaited = null;
        }

        if (complete) _complete(header.Version);
        if (awaited) Arrived?.Invoke();
    }

    /// <inheritdoc/>
    public int Lacks(int partition)
    {
        lock (_lock)
        {
            if (_awaited is not { } what) return 1;
            int lacking = 0;
            foreach (Bucket bucket in _plan.Partitions[partition].Buckets)
            {
                if (bucket.End > what.Start && bucket.Offset < what.End && _versions[bucket.Index] < what.Version) lacking++;
            }

            return Math.Max(1, lacking);
        }
    }

    /// <inheritdoc/>
    public void Abort(WeightsHeader header)
    {
    }

    /// <summary>Frees both halves and the averages. Only when no channel writes any more.</summary>
    public void Dispose()
    {
        _averages.Dispose();
        foreach (NativeBuffer half in _halves.Concat(_packed)) half.Dispose();
        foreach (OverlayMemory? overlay in _overlays) overlay?.Dispose();
    }

    // From its first byte on, the half is the new version's: what it held before can't be reported any more.
    private unsafe NativeSpan Place(WeightsHeader header, bool shows)
    {
        int half = (int)(header.Version & 1);
        if (_version[half] != header.Version) (_version[half], _arrived[half]) = (header.Version, 0);
        if (!_wire.IsExact) return Packed(header);
        Bucket bucket = _plan.Buckets[header.Bucket];
        if (!shows && _shown[half][header.Bucket])
        {
            _overlays[half]!.Hide(bucket.Offset * sizeof(float), (long)bucket.Length * sizeof(float));
            _shown[half][header.Bucket] = false;
        }

        return new NativeSpan((nint)(At(header.Version) + bucket.Offset), bucket.Length);
    }

    // The server's pages stand in for the bucket's own from the first time on; what they share with its neighbours is copied.
    private unsafe void Show(WeightsHeader header, NativeSpan source, SharedRegion region)
    {
        int half = (int)(header.Version & 1);
        Bucket bucket = _plan.Buckets[header.Bucket];
        long start = bucket.Offset * sizeof(float), bytes = (long)bucket.Length * sizeof(float);
        if (!_shown[half][header.Bucket] && _overlays[half]!.TryShow(region, source.Address - region.Address, start, bytes))
        {
            _shown[half][header.Bucket] = true;
        }

        (long first, long end) = _shown[half][header.Bucket] ? OverlayMemory.WholePages(start, start + bytes) : (start + bytes, start + bytes);
        byte* to = (byte*)At(header.Version), from = (byte*)source.Address - start;
        Buffer.MemoryCopy(from + start, to + start, first - start, first - start);
        Buffer.MemoryCopy(from + end, to + end, start + bytes - end, start + bytes - end);
    }

    private unsafe NativeSpan Packed(WeightsHeader header)
    {
        Bucket bucket = _plan.Buckets[header.Bucket];
        return new NativeSpan((nint)(_packed[header.Version & 1].Pointer + _wire.Words(bucket.Offset)), _wire.Words(bucket.Length));
    }
}
