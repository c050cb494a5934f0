using DistTrain.Core.Layout;
using DistTrain.Kernels;

namespace DistTrain.Training;

/// <summary>
/// 8 bits a value and a scale for each block, rounded stochastically: by (seed, node, step, element), so that whoever computes a
/// node rounds it the same way.
/// </summary>
public sealed unsafe class Int8Format : BlockFormat
{
    // "Q": keeps these numbers apart from those of other purposes under the same seed; the lower bits are the node's.
    private const uint Purpose = 0x51000000;

    private readonly ulong _seed;

    /// <summary>The format for a layout, under the job's seed.</summary>
    /// <exception cref="ArgumentOutOfRangeException">The layout has more blocks than random numbers can tell apart.</exception>
    public Int8Format(ParameterLayout layout, ulong seed)
        : base(layout)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThan(Pieces.Blocks, Int8Blocks.MostBlocks, nameof(layout));
        _seed = seed;
    }

    private protected override long PackedWords(int length) => Int8Blocks.Words(length);

    private protected override void Round(float* values, in WireNode node, in WirePiece piece) =>
        Int8Blocks.Round(Random(node), (ulong)node.Step, (uint)piece.Block, values, piece.Length, KernelPool.Single);

    private protected override void Pack(float* values, float* heldBack, uint* words, in WireNode node, in WirePiece piece) =>
        Int8Blocks.Quantise(Random(node), (ulong)node.Step, (uint)piece.Block, values, piece.Length, words, KernelPool.Single);

    private protected override bool Unpack(uint* words, float* values, in WirePiece piece)
    {
        Int8Blocks.Dequantise(words, values, piece.Length, KernelPool.Single);
        return true;
    }

    // There are at most 4,096 shards: 12 bits each for the first one and the number.
    private KeyedRandom Random(in WireNode node) => new(_seed, Purpose + ((uint)node.Shards.Lo << 12) + (uint)(node.Shards.Length - 1));
}
