using System.Numerics;
using DistTrain.Core.Sharding;

namespace DistTrain.Training.ParameterServer;

/// <summary>
/// Which shards of which steps are in one bucket, where segments are applied one by one: a set of shards for each of the steps
/// [<see cref="Version"/>, <see cref="Version"/> + window). So each shard counts once, whoever sends it and however often.
/// </summary>
internal sealed class ShardCoverage
{
    private const int Bits = 64;

    private readonly int _shards;
    private readonly int _window;
    private readonly int _words;
    private readonly ulong[] _covered;
    private readonly int[] _missing;
    private long _version;

    /// <param name="shards">Shards of a mini-batch.</param>
    /// <param name="window">Steps that are kept apart at once.</param>
    /// <param name="version">The steps below are whole.</param>
    public ShardCoverage(int shards, int window, long version)
    {
        (_shards, _window, _version) = (shards, window, version);
        _words = (shards + Bits - 1) / Bits;
        _covered = new ulong[window * _words];
        _missing = new int[window];
        Array.Fill(_missing, shards);
    }

    /// <summary>The steps below are whole; read by any thread.</summary>
    public long Version => Volatile.Read(ref _version);

    /// <summary>Whether a segment may be applied: its step is one of the window's, and no shard of it is there yet.</summary>
    public bool Lacks(long step, ShardRange shards)
    {
        if (step < _version || step >= _version + _window) return false;
        ReadOnlySpan<ulong> covered = _covered.AsSpan(Slot(step) * _words, _words);
        for (int word = shards.Lo / Bits; word <= (shards.Hi - 1) / Bits; word++)
        {
            if ((covered[word] & Mask(shards, word)) != 0) return false;
        }

        return true;
    }

    /// <summary>Counts a segment that <see cref="Lacks"/> allowed; true when the version rose.</summary>
    public bool Add(long step, ShardRange shards)
    {
        int slot = Slot(step);
        for (int word = shards.Lo / Bits; word <= (shards.Hi - 1) / Bits; word++) _covered[(slot * _words) + word] |= Mask(shards, word);
        _missing[slot] -= shards.Length;
        long version = _version;
        while (_missing[Slot(version)] == 0)
        {
            _missing[Slot(version)] = _shards;
            Array.Clear(_covered, Slot(version) * _words, _words);
            version++;
        }

        if (version == _version) return false;
        Volatile.Write(ref _version, version);
        return true;
    }

    /// <summary>Shards of a step that are there.</summary>
    public int Count(long step)
    {
        if (step < _version) return _shards;
        int count = 0;
        foreach (ulong word in _covered.AsSpan(Slot(step) * _words, _words)) count += BitOperations.PopCount(word);
        return count;
    }

    private int Slot(long step) => (int)(step % _window);

    private static ulong Mask(ShardRange shards, int word)
    {
        int lo = Math.Max(shards.Lo - (word * Bits), 0), hi = Math.Min(shards.Hi - (word * Bits), Bits);
        return (hi == Bits ? ulong.MaxValue : (1UL << hi) - 1) & (ulong.MaxValue << lo);
    }
}
