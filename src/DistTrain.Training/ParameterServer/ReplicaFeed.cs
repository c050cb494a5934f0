using DistTrain.Core.Channels;
using DistTrain.Core.Layout;
using DistTrain.Core.Sharding;

namespace DistTrain.Training.ParameterServer;

/// <summary>
/// What a server sends to its partition's second copy: the reduced gradient of every bucket, as one segment of all shards. Each is kept until its
/// step is committed, so that it can be sent again. All calls come from the server's actor.
/// </summary>
internal sealed class ReplicaFeed(int shards, ulong incarnation, long copyAt = 0) : IDisposable
{
    // What is kept for a second copy in the making is as large as the partition, for each step.
    public const int MostAhead = 8;

    private readonly List<(long Step, Bucket Bucket, SegmentStats Stats, ISegmentBuffer Sum)> _kept = [];
    private IServerConnection? _connection;

    // The version that the second copy is being made of; null for one that counts.
    private long? _copyAt = copyAt > 0 ? copyAt : null;

    /// <summary>Whether so much is kept for a second copy in the making that a step has to wait.</summary>
    public bool IsFull(long step) => _copyAt is { } made && step >= made + MostAhead;

    /// <summary>The second copy counts: it has applied what is committed.</summary>
    public void Counts() => _copyAt = null;

    /// <summary>Takes over what an earlier term's feed kept of steps that aren't committed.</summary>
    public void Inherit(ReplicaFeed before, long committed)
    {
        before.Counts();
        before.Commit(committed);
        _kept.AddRange(before._kept);
        before._kept.Clear();
    }

    /// <summary>Sends a sum, which is the feed's from now on.</summary>
    public void Push(long term, long step, Bucket bucket, SegmentStats stats, ISegmentBuffer sum)
    {
        _kept.Add((step, bucket, stats, sum));
        Send(term, _kept[^1]);
    }

    /// <summary>The second copy can be reached: it gets again what it may lack.</summary>
    public void Connected(IServerConnection connection, long term)
    {
        _connection = connection;
        foreach (var kept in _kept) Send(term, kept);
    }

    /// <summary>Nothing is sent until the next connection.</summary>
    public void Disconnect() => _connection = null;

    /// <summary>All copies have reached a version: what led to it is needed no more.</summary>
    public void Commit(long version)
    {
        version = Math.Min(version, _copyAt ?? version);
        int gone = 0;
        while (gone < _kept.Count && _kept[gone].Step < version) _kept[gone++].Sum.Release();
        _kept.RemoveRange(0, gone);
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        Counts();
        Commit(long.MaxValue);
    }

    private void Send(long term, in (long Step, Bucket Bucket, SegmentStats Stats, ISegmentBuffer Sum) kept) =>
        _connection?.Push(new SegmentHeader(SegmentKind.Gradient, term, incarnation, kept.Step, kept.Bucket.Index, new ShardRange(0, shards), kept.Stats), kept.Sum.Elements);
}
