using System.Runtime.InteropServices;
using DistTrain.Core.Channels;
using DistTrain.Core.Memory;
using DistTrain.Core.Sharding;

namespace DistTrain.Transport.SharedMemory;

/// <summary>
/// What goes over a <see cref="SharedLine{T}"/>: a segment from a worker, or a bucket's weights from a server, and where the
/// payload lies. Both sides are the same build: the handshake compares protocol versions.
/// </summary>
[StructLayout(LayoutKind.Sequential)]
internal struct LineMessage
{
    public long Term;
    public ulong Incarnation;
    public long Step;
    public int Kind;
    public int Bucket;
    public int Lo;
    public int Hi;
    public SegmentStats Stats;
    public ulong NonceHigh;
    public ulong NonceLow;
    public long RegionLength;
    public long Offset;
    public long Bytes;
    public long Basis;
    public long Number;
    public long Oldest;
    public long Updates;
    public long Taken;
    public int Pid;
    public int File;

    private const int Averaged = 16;

    /// <summary>A segment whose payload lies in a region; with null, one that has none.</summary>
    public static LineMessage Of(in SegmentHeader header, SharedRegion? region, long offset, long bytes) => new()
    {
        Kind = (int)header.Kind,
        Term = header.Term,
        Incarnation = header.Incarnation,
        Step = header.Step,
        Bucket = header.Bucket,
        Lo = header.Shards.Lo,
        Hi = header.Shards.Hi,
        Stats = header.Stats,
        Basis = header.Basis,
        Number = header.Number,
        Oldest = header.Oldest,
        Place = (region, offset, bytes),
    };

    /// <summary>A bucket's weights.</summary>
    public static LineMessage Of(in WeightsHeader header, SharedRegion region, long offset, long bytes) => new()
    {
        Kind = header.Averaged ? Averaged : 0,
        Term = header.Term,
        Step = header.Version,
        Bucket = header.Bucket,
        Updates = header.Updates,
        Taken = header.Taken,
        Place = (region, offset, bytes),
    };

    /// <summary>The segment's header.</summary>
    public readonly SegmentHeader Segment => new(
        Kind == (int)SegmentKind.Evaluation ? SegmentKind.Evaluation : SegmentKind.Gradient, Term, Incarnation, Step, Bucket, new ShardRange(Lo, Hi), Stats)
    {
        Basis = Basis,
        Number = Number,
        Oldest = Oldest,
    };

    /// <summary>The weights' header.</summary>
    public readonly WeightsHeader Weights => new(Term, Step, Bucket)
    {
        Averaged = Kind == Averaged,
        Updates = Updates,
        Taken = Taken,
    };

    /// <summary>The region that the payload lies in.</summary>
    public readonly SharedRegionName Region => new(Pid, File, RegionLength, new UInt128(NonceHigh, NonceLow));

    private (SharedRegion? Region, long Offset, long Bytes) Place
    {
        init
        {
            if (value.Region is not { Name: var name }) return;
            (Pid, File, RegionLength, NonceHigh, NonceLow) = (name.Pid, name.File, name.Length, (ulong)(name.Nonce >> 64), (ulong)name.Nonce);
            (Offset, Bytes) = (value.Offset, value.Bytes);
        }
    }
}
