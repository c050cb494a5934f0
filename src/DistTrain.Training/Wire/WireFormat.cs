using DistTrain.Core.Channels;
using DistTrain.Core.Layout;
using DistTrain.Core.Sharding;
using DistTrain.Kernels;

namespace DistTrain.Training;

/// <summary>Which sum is rounded or packed: what random rounding is keyed by, beside seed and element.</summary>
/// <param name="Step">The training step.</param>
/// <param name="Shards">The node of the shard tree.</param>
internal readonly record struct WireNode(long Step, ShardRange Shards);

/// <summary>
/// How segments travel. A format that rounds is applied at every node of the shard tree, wherever that node is
/// computed: a leaf is Q(sum), a node Q(left + right). So the bits don't depend on who joins what (DESIGN, I1), and nodes
/// travel without further loss.
/// </summary>
public abstract unsafe class WireFormat
{
    /// <summary>fp32 as it is.</summary>
    public static ValueFormat Exact { get; } = new(FloatFormat.Float32);

    /// <summary>Whether values travel as they are.</summary>
    public virtual bool IsExact => false;

    /// <summary>Whether every node is rounded, so that a worker computes its shards apart and joins them itself.</summary>
    public virtual bool RoundsNodes => !IsExact;

    /// <summary>
    /// Whether a worker keeps what it doesn't send, and adds it to what it sends next; segments may also come whole then, in
    /// fp32.
    /// </summary>
    public virtual bool HoldsBack => false;

    /// <summary>The format of each value by itself.</summary>
    public static ValueFormat Of(FloatFormat format) => format == FloatFormat.Float32 ? Exact : new ValueFormat(format);

    /// <summary>How many four-byte words a bucket takes.</summary>
    internal abstract int Words(Bucket bucket);

    /// <summary>Where a bucket's words begin in a worker's memory for all of them.</summary>
    internal abstract long Place(Bucket bucket);

    /// <summary>What that memory takes, in words.</summary>
    /// <param name="length">Elements of the flat vector.</param>
    internal abstract long Room(long length);

    /// <summary>Whether a segment of a bucket may have so many words.</summary>
    internal virtual bool Fits(Bucket bucket, int words) => words == Words(bucket);

    /// <summary>Rounds a bucket's values to those that the format has.</summary>
    internal abstract void Round(float* values, in WireNode node, Bucket bucket);

    /// <summary>Rounds a bucket's values and packs them.</summary>
    /// <param name="values">They may be changed.</param>
    /// <param name="heldBack">What was not sent before of these values; null where the format holds nothing back.</param>
    /// <param name="packed">As long as <see cref="Words"/> says, or the bucket where it is to go whole.</param>
    /// <param name="node">Which node.</param>
    /// <param name="bucket">The bucket.</param>
    internal abstract void Pack(float* values, float* heldBack, NativeSpan packed, in WireNode node, Bucket bucket);

    /// <summary>
    /// The 16-bit format that each value is rounded to by itself, so that any range of the flat vector can be rounded, joined and packed
    /// apart from the others of its bucket; null for a format of another kind.
    /// </summary>
    internal virtual ValueFormat? ByValue => null;

    /// <summary>Unpacks a bucket's values; false where the words can't be what somebody packed.</summary>
    internal abstract bool Unpack(NativeSpan packed, float* values, Bucket bucket);
}
