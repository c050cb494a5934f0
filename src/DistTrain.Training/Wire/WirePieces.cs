using DistTrain.Core.Layout;

namespace DistTrain.Training;

/// <summary>The part of a bucket that one tensor has, from the start of a block on; the padding behind the tensor belongs to its last block.</summary>
/// <param name="At">Its first element in the bucket.</param>
/// <param name="Length">Elements; a multiple of 16.</param>
/// <param name="IsBuffer">Whether the tensor is a buffer.</param>
/// <param name="Block">The number of its first block in the whole layout.</param>
internal readonly record struct WirePiece(int At, int Length, bool IsBuffer, long Block);

/// <summary>Cuts buckets into tensors: blocks restart at each (DESIGN, I1).</summary>
internal sealed class WirePieces
{
    private readonly long[] _starts;
    private readonly long[] _blocks;
    private readonly bool[] _buffers;

    public WirePieces(ParameterLayout layout)
    {
        int count = layout.Tensors.Length;
        (_starts, _blocks, _buffers) = (new long[count + 1], new long[count + 1], new bool[count]);
        for (int t = 0; t < count; t++)
        {
            _starts[t] = layout.Tensors[t].Offset;
            _starts[t + 1] = t + 1 < count ? layout.Tensors[t + 1].Offset : layout.Length;
            _blocks[t + 1] = _blocks[t] + ((_starts[t + 1] - _starts[t] + ParameterLayout.BlockLength - 1) / ParameterLayout.BlockLength);
            _buffers[t] = layout.Tensors[t].Role == TensorRole.Buffer;
        }
    }

    /// <summary>Blocks of the layout.</summary>
    public long Blocks => _blocks[^1];

    /// <summary>The tensor that holds a bucket's first element, or where there is none the last one's successor.</summary>
    public int First(Bucket bucket)
    {
        int lo = 0, hi = _buffers.Length;
        while (lo < hi)
        {
            int mid = (lo + hi) / 2;
            if (_starts[mid + 1] > bucket.Offset) hi = mid;
            else lo = mid + 1;
        }

        return lo;
    }

    /// <summary>The piece of a bucket that is a tensor's; false behind the last one.</summary>
    public bool TryGet(Bucket bucket, int tensor, out WirePiece piece)
    {
        piece = default;
        if (tensor >= _buffers.Length || _starts[tensor] >= bucket.End) return false;
        long start = Math.Max(_starts[tensor], bucket.Offset), end = Math.Min(_starts[tensor + 1], bucket.End);
        long block = _blocks[tensor] + ((start - _starts[tensor]) / ParameterLayout.BlockLength);
        piece = new WirePiece((int)(start - bucket.Offset), (int)(end - start), _buffers[tensor], block);
        return true;
    }
}
