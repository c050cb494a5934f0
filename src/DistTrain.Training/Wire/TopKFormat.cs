using DistTrain.Core.Channels;
using DistTrain.Core.Layout;
using DistTrain.Kernels;

namespace DistTrain.Training;

/// <summary>
/// The largest values of each block, with error feedback: what a worker doesn't send of a node it adds to what it sends of it
/// next. So bits depend on who sends which node. At a step that leads to a version which is saved everything goes, in fp32, and nothing is
/// left: checkpoints need to hold nothing of it.
/// </summary>
/// <param name="layout">The layout.</param>
/// <param name="fraction">Which share of a block is sent, above 0 to a half: more would take more words than the values have.</param>
public sealed unsafe class TopKFormat(ParameterLayout layout, double fraction) : BlockFormat(layout)
{
    /// <inheritdoc/>
    public override bool RoundsNodes => false;

    /// <inheritdoc/>
    public override bool HoldsBack => true;

    internal override bool Fits(Bucket bucket, int words) => words == bucket.Length || base.Fits(bucket, words);

    internal override void Pack(float* values, float* heldBack, NativeSpan packed, in WireNode node, Bucket bucket)
    {
        if (packed.Length < bucket.Length || Words(bucket) == bucket.Length)
        {
            base.Pack(values, heldBack, packed, node, bucket);
            return;
        }

        Elementwise.Add(values, heldBack, (float*)packed.Address, bucket.Length, KernelPool.Single);
        new Span<float>(heldBack, bucket.Length).Clear();
    }

    internal override bool Unpack(NativeSpan packed, float* values, Bucket bucket)
    {
        if (packed.Length < bucket.Length) return base.Unpack(packed, values, bucket);
        packed.Span.CopyTo(new Span<float>(values, bucket.Length));
        return true;
    }

    private protected override long PackedWords(int length) => TopKBlocks.Words(fraction, length);

    // Nothing is lost of what travels.
    private protected override void Round(float* values, in WireNode node, in WirePiece piece)
    {
    }

    private protected override void Pack(float* values, float* heldBack, uint* words, in WireNode node, in WirePiece piece) =>
        TopKBlocks.Select(fraction, values, heldBack, piece.Length, words, KernelPool.Single);

    private protected override bool Unpack(uint* words, float* values, in WirePiece piece) => TopKBlocks.Expand(fraction, words, values, piece.Length);
}
