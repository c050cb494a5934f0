using System.Collections.Immutable;
using DistTrain.Core.Messages;

namespace DistTrain.Training.Worker;

/// <summary>What a worker was told to tell of its own shards and to compute of others', in one step.</summary>
internal sealed class VerifiedShards
{
    private readonly SortedSet<int> _apart = [];
    private readonly SortedSet<int> _again = [];

    /// <summary>The step; -1 for none.</summary>
    public long Step { get; private set; } = -1;

    /// <summary>Takes an order, which adds to an earlier one of the same step.</summary>
    public void Take(Verify order)
    {
        if (order.Step != Step) Clear();
        Step = order.Step;
        _apart.UnionWith(order.Apart);
        _again.UnionWith(order.Again);
    }

    /// <summary>Forgets all.</summary>
    public void Clear()
    {
        Step = -1;
        _apart.Clear();
        _again.Clear();
    }

    /// <summary>The worker's own that are computed apart in a step, ascending.</summary>
    public ImmutableArray<int> Apart(long step) => step == Step ? [.. _apart] : [];

    /// <summary>Whether what came out of a shard is to be told; only once.</summary>
    public bool Takes(long step, int shard) => step == Step && _apart.Remove(shard);

    /// <summary>The next of others' shards that is to be computed; only once.</summary>
    public bool TryNext(out int shard)
    {
        shard = _again.Count > 0 ? _again.Min : -1;
        return _again.Remove(shard);
    }

    /// <summary>Whether there are others' shards to be computed.</summary>
    public bool IsAsked => _again.Count > 0;
}
