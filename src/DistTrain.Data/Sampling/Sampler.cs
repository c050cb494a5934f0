namespace DistTrain.Data;

/// <summary>Where a step stands in the data.</summary>
/// <param name="Epoch">Passes over the data completed before it.</param>
/// <param name="StepInEpoch">Steps of this epoch before it.</param>
/// <param name="Start">Examples of this epoch before it.</param>
/// <param name="Size">Examples of its mini-batch: B, or fewer for the last one of an epoch.</param>
public readonly record struct MiniBatch(long Epoch, long StepInEpoch, long Start, int Size);

/// <summary>
/// Which examples make up the mini-batch of a step: a function of (example count, batch size, seed, step) alone, so any
/// worker finds its own indices with no communication and O(1) memory (DESIGN, I1). Immutable and thread-safe.
/// </summary>
public sealed class Sampler
{
    private readonly ulong _seed;
    private readonly bool _shuffle;

    /// <summary>Samples <paramref name="count"/> examples in mini-batches of <paramref name="batchSize"/>.</summary>
    /// <param name="count">Examples, at least 1.</param>
    /// <param name="batchSize">Examples of a mini-batch, at least 1; may exceed the count.</param>
    /// <param name="seed">The job's seed.</param>
    /// <param name="shuffle">False takes the examples in ascending order, as evaluation does.</param>
    public Sampler(long count, int batchSize, ulong seed, bool shuffle = true)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(count, 1);
        ArgumentOutOfRangeException.ThrowIfLessThan(batchSize, 1);
        Count = count;
        BatchSize = batchSize;
        _seed = seed;
        _shuffle = shuffle;
    }

    /// <summary>Examples of an epoch.</summary>
    public long Count { get; }

    /// <summary>Examples of a full mini-batch.</summary>
    public int BatchSize { get; }

    /// <summary>Steps of an epoch; the last may be short.</summary>
    public long StepsPerEpoch => (Count - 1) / BatchSize + 1;

    /// <summary>The mini-batch of step <paramref name="step"/>, counted from 0 over all epochs.</summary>
    public MiniBatch At(long step)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(step);
        long epoch = step / StepsPerEpoch;
        long inEpoch = step - epoch * StepsPerEpoch;
        long start = inEpoch * BatchSize;
        return new MiniBatch(epoch, inEpoch, start, (int)Math.Min(BatchSize, Count - start));
    }

    /// <summary>The example at a position of an epoch's order.</summary>
    public long Example(long epoch, long position) =>
        _shuffle ? new KeyedPermutation(_seed, "shuffle", (ulong)epoch, Count).Map(position) : position;

    /// <summary>Writes the examples at some positions of a mini-batch.</summary>
    public void Fill(MiniBatch batch, ReadOnlySpan<int> positions, Span<long> examples)
    {
        var order = new KeyedPermutation(_seed, "shuffle", (ulong)batch.Epoch, Count);
        for (int i = 0; i < positions.Length; i++)
        {
            if ((uint)positions[i] >= (uint)batch.Size) throw new ArgumentOutOfRangeException(nameof(positions), positions[i], $"not within a mini-batch of {batch.Size}");
            examples[i] = _shuffle ? order.Map(batch.Start + positions[i]) : batch.Start + positions[i];
        }
    }

    /// <summary>
    /// Writes the examples at positions [<paramref name="first"/>, first + examples.Length) of a mini-batch to
    /// <paramref name="examples"/>: with ShardSlice.Of(batch.Size, S, s), those of shard s.
    /// </summary>
    public void Fill(MiniBatch batch, int first, Span<long> examples)
    {
        if (first < 0 || examples.Length > batch.Size - first)
        {
            throw new ArgumentOutOfRangeException(nameof(first), first, $"[{first}, {first + (long)examples.Length}) is not within a mini-batch of {batch.Size}");
        }

        long start = batch.Start + first;
        if (!_shuffle)
        {
            for (int i = 0; i < examples.Length; i++) examples[i] = start + i;
            return;
        }

        var order = new KeyedPermutation(_seed, "shuffle", (ulong)batch.Epoch, Count);
        for (int i = 0; i < examples.Length; i++) examples[i] = order.Map(start + i);
    }
}
