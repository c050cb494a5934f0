using System.Collections.Immutable;
using DistTrain.Core.Channels;
using DistTrain.Core.Layout;
using DistTrain.Kernels;

namespace DistTrain.Training;

/// <summary>
/// How fp32 values travel. A format that rounds is applied at every node of the shard tree, wherever that node is
/// computed: a leaf is Q(sum), a node Q(left + right). So the bits don't depend on who joins what (DESIGN, I1), and nodes
/// travel without further loss.
/// </summary>
public sealed unsafe class WireFormat
{
    private readonly FloatFormat _format;

    private WireFormat(FloatFormat format) => _format = format;

    /// <summary>fp32 as it is.</summary>
    public static WireFormat Exact { get; } = new(FloatFormat.Float32);

    /// <summary>Whether values travel as they are.</summary>
    public bool IsExact => _format == FloatFormat.Float32;

    /// <summary>The format of each value.</summary>
    public static WireFormat Of(FloatFormat format) => format == FloatFormat.Float32 ? Exact : new WireFormat(format);

    /// <summary>How many four-byte words so many values take. Of a multiple of 16 values, as layouts have them, none is padding.</summary>
    public int Words(int length) => (int)Words((long)length);

    /// <inheritdoc cref="Words(int)"/>
    public long Words(long length) => IsExact ? length : (length + 1) / 2;

    /// <summary>Where each bucket's words begin when they stand one after the other, and where the last one's end.</summary>
    internal long[] Places(ImmutableArray<Bucket> buckets)
    {
        long[] places = new long[buckets.Length + 1];
        for (int b = 0; b < buckets.Length; b++) places[b + 1] = places[b] + Words(buckets[b].Length);
        return places;
    }

    /// <summary>What arrives of a whole vector: rounds it to the values that the format has.</summary>
    public void Round(NativeBuffer values) => Precisions.Round(values.Pointer, _format, (nint)values.Length);

    /// <summary>Rounds (length) values to those that the format has.</summary>
    internal void Round(float* values, int length) => Precisions.Round(values, _format, length);

    /// <summary>Packs (length) values, which are rounded if they weren't.</summary>
    internal void Pack(float* values, NativeSpan packed, int length) => Precisions.FromFloat32(values, (void*)packed.Address, _format, length);

    /// <summary>Unpacks (length) values.</summary>
    internal void Unpack(NativeSpan packed, float* values, int length) => Precisions.ToFloat32((void*)packed.Address, _format, values, length);
}

/// <summary>How tensors of a job travel.</summary>
/// <param name="Gradients">Segments, to the servers.</param>
/// <param name="Weights">Weights, to the workers; the servers' own stay fp32.</param>
public sealed record WireOptions(WireFormat Gradients, WireFormat Weights)
{
    /// <summary>fp32 both ways.</summary>
    public static WireOptions Exact { get; } = new(WireFormat.Exact, WireFormat.Exact);

    /// <summary>One format both ways.</summary>
    public static WireOptions Of(FloatFormat format) => new(WireFormat.Of(format), WireFormat.Of(format));
}
