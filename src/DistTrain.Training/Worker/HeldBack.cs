using DistTrain.Core.Sharding;
using DistTrain.Kernels;

namespace DistTrain.Training.Worker;

/// <summary>
/// What a worker has not sent of its gradients (error feedback; F. Seide et al. 2014, S. Stich et al. 2018): a flat vector for
/// each tree node that it sends. It is the worker's own and dies with it. When other nodes are sent than before, what
/// was held back for those that overlap them, or that are computed by somebody else now, goes on with the new ones.
/// </summary>
internal sealed unsafe class HeldBack(long length) : IDisposable
{
    private readonly Dictionary<ShardRange, NativeBuffer> _vectors = [];
    private readonly List<ShardRange> _leaving = [];
    private bool[] _assigned = [];

    /// <summary>The worker computes these shards from now on.</summary>
    /// <param name="shards">They.</param>
    /// <param name="count">Of how many.</param>
    public void Assign(IEnumerable<int> shards, int count)
    {
        _assigned = new bool[count];
        foreach (int shard in shards) _assigned[shard] = true;
    }

    /// <summary>These nodes are sent next, once each: makes their vectors, and moves what is held for nodes that they replace.</summary>
    public void Take(IReadOnlyList<ShardRange> nodes)
    {
        for (int n = 0; n < nodes.Count; n++)
        {
            if (!_vectors.ContainsKey(nodes[n])) _vectors[nodes[n]] = new NativeBuffer(length);
        }

        if (_vectors.Count == nodes.Count) return;
        _leaving.Clear();
        foreach (ShardRange held in _vectors.Keys)
        {
            if (!Contains(nodes, held) && (!IsAssigned(held) || Heir(nodes, held) >= 0)) _leaving.Add(held);
        }

        foreach (ShardRange held in _leaving)
        {
            using NativeBuffer from = _vectors[held];
            float* to = _vectors[nodes[Math.Max(0, Heir(nodes, held))]].Pointer;
            Elementwise.Add(to, from.Pointer, to, (nint)length, KernelPool.Single);
            _vectors.Remove(held);
        }
    }

    /// <summary>The vector of a node that was taken.</summary>
    public float* Of(ShardRange node) => _vectors[node].Pointer;

    /// <summary>Nothing is held back any more: the weights are those of a checkpoint, at which all had been sent.</summary>
    public void Clear()
    {
        foreach (NativeBuffer vector in _vectors.Values) vector.Dispose();
        _vectors.Clear();
    }

    public void Dispose() => Clear();

    private bool IsAssigned(ShardRange node)
    {
        for (int shard = node.Lo; shard < node.Hi; shard++)
        {
            if (shard < _assigned.Length && _assigned[shard]) return true;
        }

        return false;
    }

    private static bool Contains(IReadOnlyList<ShardRange> nodes, ShardRange node)
    {
        for (int n = 0; n < nodes.Count; n++)
        {
            if (nodes[n] == node) return true;
        }

        return false;
    }

    private static int Heir(IReadOnlyList<ShardRange> nodes, ShardRange held)
    {
        for (int n = 0; n < nodes.Count; n++)
        {
            if (nodes[n].Lo < held.Hi && held.Lo < nodes[n].Hi) return n;
        }

        return -1;
    }
}
