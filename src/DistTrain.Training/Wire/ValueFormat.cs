using System.Collections.Immutable;
using DistTrain.Core.Channels;
using DistTrain.Core.Layout;
using DistTrain.Kernels;

namespace DistTrain.Training;

/// <summary>Each value by itself, in 32 or 16 bits: segments, and weights.</summary>
public sealed unsafe class ValueFormat : WireFormat
{
    private readonly FloatFormat _format;

    internal ValueFormat(FloatFormat format) => _format = format;

    /// <summary>The format.</summary>
    public FloatFormat Format => _format;

    /// <inheritdoc/>
    public override bool IsExact => _format == FloatFormat.Float32;

    /// <summary>How many four-byte words so many values take. Of a multiple of 16 values, as layouts have them, none is padding.</summary>
    public int Words(int length) => (int)Words((long)length);

    /// <inheritdoc cref="Words(int)"/>
    public long Words(long length) => IsExact ? length : (length + 1) / 2;

    /// <summary>Rounds a whole vector to the values that the format has: what arrives of it.</summary>
    public void Round(NativeBuffer values) => Precisions.Round(values.Pointer, _format, (nint)values.Length);

    /// <summary>Where each bucket's words begin when they stand one after the other, and where the last one's end.</summary>
    internal long[] Places(ImmutableArray<Bucket> buckets)
    {
        long[] places = new long[buckets.Length + 1];
        for (int b = 0; b < buckets.Length; b++) places[b + 1] = places[b] + Words(buckets[b].Length);
        return places;
    }

    /// <summary>Packs (length) values, which are rounded if they weren't.</summary>
    internal void Pack(float* values, NativeSpan packed, int length) => Precisions.FromFloat32(values, (void*)packed.Address, _format, length);

    /// <summary>Unpacks (length) values.</summary>
    internal void Unpack(NativeSpan packed, float* values, int length) => Precisions.ToFloat32((void*)packed.Address, _format, values, length);

    internal override int Words(Bucket bucket) => Words(bucket.Length);

    internal override long Place(Bucket bucket) => Words(bucket.Offset);

    internal override long Room(long length) => Words(length);

    internal override void Round(float* values, in WireNode node, Bucket bucket) => Precisions.Round(values, _format, bucket.Length);

    internal override void Pack(float* values, float* heldBack, NativeSpan packed, in WireNode node, Bucket bucket) => Pack(values, packed, bucket.Length);

    internal override ValueFormat? ByValue => IsExact ? null : this;

    /// <summary>Joins leaves along the shard tree, rounds every node on the way and packs the sum, in one pass.</summary>
    /// <param name="leaves">Pointers to (length) values of each leaf of the node; not changed.</param>
    /// <param name="packed">Where the sum's values go.</param>
    /// <param name="length">How many values.</param>
    internal void PackSum(ReadOnlySpan<nint> leaves, void* packed, long length)
    {
        fixed (nint* segments = leaves)
        {
            RoundedJoin.Sum((void**)segments, leaves.Length, FloatFormat.Float32, _format, packed, _format, (nint)length, KernelPool.Single);
        }
    }

    /// <summary>sum = Q(left + right) of what was packed; it may be one of the two where it is packed too.</summary>
    internal void Join(NativeSpan left, NativeSpan right, NativeSpan sum, FloatFormat sumFormat, int length) =>
        Join((void*)left.Address, (void*)right.Address, (void*)sum.Address, sumFormat, length);

    /// <inheritdoc cref="Join(NativeSpan, NativeSpan, NativeSpan, FloatFormat, int)"/>
    internal void Join(void* left, void* right, void* sum, FloatFormat sumFormat, int length)
    {
        void** segments = stackalloc void*[] { left, right };
        RoundedJoin.Sum(segments, 2, _format, _format, sum, sumFormat, length, KernelPool.Single);
    }

    internal override bool Unpack(NativeSpan packed, float* values, Bucket bucket)
    {
        Unpack(packed, values, bucket.Length);
        return true;
    }
}
