using System.Runtime.CompilerServices;
using System.Threading.Channels;
using DistTrain.Core.Channels;
using DistTrain.Core.Layout;

namespace DistTrain.Training.ParameterServer;

/// <summary>
/// Publishes buckets to all subscribers. A subscriber that is slow skips versions: it has at most one entry waiting
/// for each bucket, first layers first, and gets the newest, and before it the one before: other buckets may lack shards of that step which
/// only this subscriber can compute, while nobody can need what it skips. One that comes in the middle of a step first gets the version before of those
/// buckets that are ahead of the last commit, because the step may have to be computed again. Where averages are kept, those
/// of versions that are evaluated are published too.
/// </summary>
/// <param name="state">The weights.</param>
/// <param name="term">The term.</param>
/// <param name="versions">Where each bucket stands.</param>
/// <param name="committed">The last version known to be committed.</param>
/// <param name="isQuiet">Whether subscribers get nothing: those of a second copy.</param>
internal sealed class WeightsBroadcast(PartitionState state, long term, IEnumerable<long> versions, long committed, bool isQuiet = false)
{
    private readonly Lock _lock = new();
    private readonly List<Subscription> _subscriptions = [];
    private readonly long[] _published = [.. versions];
    private long _committed = committed;
    private long _sent;
    private bool _closed;

    /// <summary>Of a partition whose buckets all stand at one version, which is committed.</summary>
    public WeightsBroadcast(PartitionState state, long term, long version)
        : this(state, term, state.Partition.Buckets.Select(_ => version), version)
    {
    }

    /// <summary>Adds to what a subscriber is told of a bucket, by the bucket's place in the partition and the subscriber's incarnation; null for nothing.</summary>
    public Func<int, ulong, WeightsHeader, WeightsHeader>? Mark { get; init; }

    /// <summary>Which partition it is.</summary>
    public int Partition => state.Partition.Index;

    /// <summary>Bytes of what subscribers were given.</summary>
    public long SentBytes => Interlocked.Read(ref _sent);

    public void Publish(Bucket bucket, long newVersion)
    {
        if (isQuiet) return;
        int local = Local(bucket);
        lock (_lock)
        {
            bool averages = _published[local] != newVersion;
            Volatile.Write(ref _published[local], newVersion);
            foreach (Subscription subscription in _subscriptions) subscription.OfferNewest(local, averages);
        }
    }

    public void Commit(long committedVersion) => Volatile.Write(ref _committed, committedVersion);

    /// <summary>A new subscriber; with <paramref name="inline"/>, what awaits it runs within <see cref="Publish"/>.</summary>
    public IWeightsSubscription Subscribe(bool inline = false, ulong incarnation = 0, Lane lane = default)
    {
        lock (_lock)
        {
            var subscription = new Subscription(this, inline, incarnation, lane);
            if (_closed) subscription.Close();
            else _subscriptions.Add(subscription);
            return subscription;
        }
    }

    public void Close()
    {
        lock (_lock)
        {
            _closed = true;
            foreach (Subscription subscription in _subscriptions) subscription.Close();
            _subscriptions.Clear();
        }
    }

    private int Local(Bucket bucket) => bucket.Index - state.Partition.Buckets[0].Index;

    private bool PublishesAverages(long at) => state.Averages is { } averages && averages.Published(at);

    private sealed class Subscription : IWeightsSubscription
    {
        private const int Now = 1, Later = 2;

        private readonly WeightsBroadcast _owner;
        private readonly Channel<int> _waiting;
        private readonly ulong _incarnation;
        private readonly Lane _lane;
        private readonly int _buckets;
        private readonly int[] _queued;
        private readonly long[] _given;
        private readonly Queue<(int Local, long Version)> _before = new();

        public Subscription(WeightsBroadcast owner, bool inline, ulong incarnation, Lane lane)
        {
            (_owner, _incarnation, _lane) = (owner, incarnation, lane);
            _buckets = owner._published.Length;
            _queued = new int[2 * _buckets];
            _given = new long[_buckets];
            Array.Fill(_given, -1);
            _waiting = Channel.CreateUnbounded<int>(new UnboundedChannelOptions { SingleReader = true, AllowSynchronousContinuations = inline });
            long committed = Volatile.Read(ref owner._committed);
            for (int local = 0; local < _buckets; local++)
            {
                if (!Carries(local)) continue;
                if (owner.Mark is null && owner._published[local] > committed) _before.Enqueue((local, owner._published[local] - 1));
                OfferNewest(local);
            }
        }

        public void OfferNewest(int local, bool averages = true)
        {
            if (!Carries(local)) return;
            Offer(local);
            if (averages && _owner.PublishesAverages(Volatile.Read(ref _owner._published[local]))) Offer(_buckets + local);
        }

        public void Close() => _waiting.Writer.TryComplete();

        [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder<>))]
        public async ValueTask<(WeightsHeader Header, NativeSpan Payload)?> NextAsync(CancellationToken cancellation)
        {
            if (_before.TryDequeue(out (int Local, long Version) before)) return Entry(before.Local, before.Version);
            while (await _waiting.Reader.WaitToReadAsync(cancellation))
            {
                if (!_waiting.Reader.TryRead(out _)) continue;
                int entry = TakeFirst();
                int local = entry % _buckets;
                long newest = Volatile.Read(ref _owner._published[local]);
                if (entry < _buckets)
                {
                    if (_owner.Mark is not null || _given[local] < 0 || _given[local] >= newest - 1) return Entry(local, newest);
                    OfferLater(local);
                    return Entry(local, newest - 1);
                }

                // Averages of a version that has been passed are needed by nobody.
                if (_owner.PublishesAverages(newest)) return Averages(local, newest);
            }

            return null;
        }

        public void Dispose()
        {
            lock (_owner._lock) _owner._subscriptions.Remove(this);
            Close();
        }

        private bool Carries(int local) => !_owner.IsQuiet && _lane.Carries(_owner.StateBucket(local).Index);

        // There are at least as many entries as words of them. The flag falls before the version is read: a version published after that
        // is queued again.
        private int TakeFirst()
        {
            while (true)
            {
                foreach (int wanted in (ReadOnlySpan<int>)[Now, Later])
                {
                    for (int entry = 0; entry < _queued.Length; entry++)
                    {
                        if (Volatile.Read(ref _queued[entry]) == wanted && Interlocked.Exchange(ref _queued[entry], 0) != 0) return entry;
                    }
                }
            }
        }

        // Behind what others have to give of the version before.
        private void OfferLater(int entry)
        {
            if (Interlocked.CompareExchange(ref _queued[entry], Later, 0) == 0) _waiting.Writer.TryWrite(entry);
        }

        // Buckets first, behind them their averages.
        private void Offer(int entry)
        {
            if (Interlocked.Exchange(ref _queued[entry], Now) == 0) _waiting.Writer.TryWrite(entry);
        }

        private (WeightsHeader, NativeSpan) Averages(int local, long version)
        {
            Bucket bucket = _owner.StateBucket(local);
            return Given(new WeightsHeader(_owner.Term, version, bucket.Index) { Averaged = true }, _owner.Averages(bucket));
        }

        private (WeightsHeader, NativeSpan) Entry(int local, long version)
        {
            Bucket bucket = _owner.StateBucket(local);
            _given[local] = version;
            var header = new WeightsHeader(_owner.Term, version, bucket.Index);
            return Given(_owner.Mark?.Invoke(local, _incarnation, header) ?? header, _owner.Payload(bucket, version));
        }

        private (WeightsHeader, NativeSpan) Given(WeightsHeader header, NativeSpan payload)
        {
            Interlocked.Add(ref _owner._sent, payload.Length * (long)sizeof(float));
            return (header, payload);
        }
    }

    private bool IsQuiet => isQuiet;

    private long Term => term;

    private Bucket StateBucket(int local) => state.Partition.Buckets[local];

    private NativeSpan Averages(Bucket bucket) => state.Averages!.Range(bucket.Offset, bucket.Length);

    private NativeSpan Payload(Bucket bucket, long at) => state.Payload(bucket, at);
}
