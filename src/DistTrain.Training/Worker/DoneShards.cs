using System.Numerics;
using DistTrain.Core.Sharding;

namespace DistTrain.Training.Worker;

/// <summary>Which shards a worker has pushed, of each step that isn't committed.</summary>
internal sealed class DoneShards(ShardTree tree, int window)
{
    private const int Bits = 64;

    private readonly int _words = (tree.Shards + Bits - 1) / Bits;
    private readonly ulong[] _done = new ulong[window * ((tree.Shards + Bits - 1) / Bits)];

    /// <summary>Whether none of a step is done.</summary>
    public bool IsEmpty(long step) => Of(step).IndexOfAnyExcept(0UL) < 0;

    /// <summary>Whether a shard of a step is done.</summary>
    public bool Has(long step, int shard) => (Of(step)[shard / Bits] >> (shard % Bits) & 1) != 0;

    /// <summary>A shard of a step is done.</summary>
    public void Add(long step, int shard) => Of(step)[shard / Bits] |= 1UL << (shard % Bits);

    /// <summary>The step's place is another's from now on.</summary>
    public void Forget(long step) => Of(step).Clear();

    /// <summary>
    /// After a new assignment: what was pushed as a node that others now have a shard of counts as not done. They push that shard
    /// by itself, and if it comes first, the node is dropped as a whole.
    /// </summary>
    public void Keep(long step, IReadOnlyCollection<int> assigned)
    {
        if (IsEmpty(step)) return;
        List<int> done = [.. Enumerable.Range(0, tree.Shards).Where(s => Has(step, s))];
        Forget(step);
        foreach (ShardRange node in tree.TopNodes(done))
        {
            if (!Enumerable.Range(node.Lo, node.Length).All(assigned.Contains)) continue;
            for (int shard = node.Lo; shard < node.Hi; shard++) Add(step, shard);
        }
    }

    /// <summary>How many of a step are done.</summary>
    public int Count(long step)
    {
        int count = 0;
        foreach (ulong word in Of(step)) count += BitOperations.PopCount(word);
        return count;
    }

    private Span<ulong> Of(long step) => _done.AsSpan((int)(step % window) * _words, _words);
}
