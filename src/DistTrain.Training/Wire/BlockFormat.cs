using DistTrain.Core.Channels;
using DistTrain.Core.Layout;

namespace DistTrain.Training;

/// <summary>
/// Formats over blocks of 4,096 elements that restart at each tensor: a bucket's words are those of its tensors, one after the
/// other. Buffers (running statistics, the loss scale) travel as they are: their values are no gradients, stand side by side with others of
/// quite different sizes, and what is lost of one is not made up for by the next step.
/// </summary>
public abstract unsafe class BlockFormat : WireFormat
{
    private readonly Dictionary<(long Offset, int Length), int> _words = [];
    private readonly Lock _lock = new();

    private protected BlockFormat(ParameterLayout layout) => Pieces = new WirePieces(layout);

    private protected WirePieces Pieces { get; }

    internal override int Words(Bucket bucket)
    {
        lock (_lock)
        {
            if (_words.TryGetValue((bucket.Offset, bucket.Length), out int known)) return known;
            long words = 0;
            for (int t = Pieces.First(bucket); Pieces.TryGet(bucket, t, out WirePiece piece); t++) words += PieceWords(piece);
            return _words[(bucket.Offset, bucket.Length)] = checked((int)words);
        }
    }

    // No format takes more words than values, so each bucket has its own place in a vector's memory.
    internal override long Place(Bucket bucket) => bucket.Offset;

    internal override long Room(long length) => length;

    internal override void Round(float* values, in WireNode node, Bucket bucket)
    {
        for (int t = Pieces.First(bucket); Pieces.TryGet(bucket, t, out WirePiece piece); t++)
        {
            if (!piece.IsBuffer) Round(values + piece.At, node, piece);
        }
    }

    internal override void Pack(float* values, float* heldBack, NativeSpan packed, in WireNode node, Bucket bucket)
    {
        uint* words = (uint*)packed.Address;
        for (int t = Pieces.First(bucket); Pieces.TryGet(bucket, t, out WirePiece piece); t++)
        {
            if (piece.IsBuffer) new Span<float>(values + piece.At, piece.Length).CopyTo(new Span<float>(words, piece.Length));
            else Pack(values + piece.At, heldBack == null ? null : heldBack + piece.At, words, node, piece);
            words += PieceWords(piece);
        }
    }

    internal override bool Unpack(NativeSpan packed, float* values, Bucket bucket)
    {
        uint* words = (uint*)packed.Address;
        for (int t = Pieces.First(bucket); Pieces.TryGet(bucket, t, out WirePiece piece); t++)
        {
            if (piece.IsBuffer) new Span<float>(words, piece.Length).CopyTo(new Span<float>(values + piece.At, piece.Length));
            else if (!Unpack(words, values + piece.At, piece)) return false;
            words += PieceWords(piece);
        }

        return true;
    }

    private protected abstract long PackedWords(int length);

    private protected abstract void Round(float* values, in WireNode node, in WirePiece piece);

    private protected abstract void Pack(float* values, float* heldBack, uint* words, in WireNode node, in WirePiece piece);

    private protected abstract bool Unpack(uint* words, float* values, in WirePiece piece);

    private long PieceWords(in WirePiece piece) => piece.IsBuffer ? piece.Length : PackedWords(piece.Length);
}
