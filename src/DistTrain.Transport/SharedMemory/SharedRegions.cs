using DistTrain.Core.Channels;
using DistTrain.Core.Memory;
using Wire = DistTrain.Transport.Proto.V1;

namespace DistTrain.Transport.SharedMemory;

/// <summary>
/// The regions of one peer that a connection has mapped. They stay mapped until the connection has ended and nobody holds
/// a segment in them any more. One thread at a time opens and closes; holders let go from any.
/// </summary>
internal sealed class SharedRegions
{
    // A peer has a few vectors for each of its tree nodes; one that names more is not one of ours.
    private const int MostRegions = 4096;

    private readonly List<SharedRegion> _regions = [];
    private readonly int _pid;
    private int _holders = 1;

    /// <param name="pid">The only process that regions may be of; 0 for the one that the first is of.</param>
    public SharedRegions(int pid = 0) => _pid = pid;

    /// <summary>The place that a message names; null when it can't be mapped or lies outside its region.</summary>
    public (SharedRegion Region, NativeSpan Place)? Find(Wire.SharedBytes shared)
    {
        if (shared.Offset < 0 || shared.Bytes < 0 || shared.Offset > shared.Length - shared.Bytes || shared.Offset % sizeof(float) != 0 || shared.Bytes % sizeof(float) != 0) return null;
        if (shared.Bytes / sizeof(float) > int.MaxValue || Region(shared) is not { } region) return null;
        return (region, new NativeSpan(region.Address + (nint)shared.Offset, (int)(shared.Bytes / sizeof(float))));
    }

    /// <summary>The message that names a range of a region of this process.</summary>
    public static Wire.SharedBytes Name(SharedRegion region, long offset, long bytes) => new()
    {
        Pid = region.Name.Pid,
        File = region.Name.File,
        Length = region.Name.Length,
        NonceHigh = (ulong)(region.Name.Nonce >> 64),
        NonceLow = (ulong)region.Name.Nonce,
        Offset = offset,
        Bytes = bytes,
    };

    /// <summary>A segment in a region of these.</summary>
    public ISegmentBuffer Lend(NativeSpan place)
    {
        Interlocked.Increment(ref _holders);
        return new Lent(this, place);
    }

    /// <summary>The connection has ended.</summary>
    public void Close() => LetGo();

    private SharedRegion? Region(Wire.SharedBytes shared)
    {
        var nonce = new UInt128(shared.NonceHigh, shared.NonceLow);
        foreach (SharedRegion known in _regions)
        {
            if (known.Name.Nonce == nonce && known.Name.File == shared.File && known.Name.Pid == shared.Pid && known.Name.Length == shared.Length) return known;
        }

        if (_regions.Count == MostRegions || (_pid != 0 && shared.Pid != _pid) || (_regions.Count > 0 && _regions[0].Name.Pid != shared.Pid)) return null;
        SharedRegion? region = SharedRegion.Open(new SharedRegionName(shared.Pid, shared.File, shared.Length, nonce));
        if (region is not null) _regions.Add(region);
        return region;
    }

    private void LetGo()
    {
        if (Interlocked.Decrement(ref _holders) != 0) return;
        foreach (SharedRegion region in _regions) region.Dispose();
        _regions.Clear();
    }

    private sealed class Lent(SharedRegions regions, NativeSpan place) : ISegmentBuffer
    {
        public NativeSpan Elements => place;

        public bool Writable => false;

        public void Release() => regions.LetGo();
    }
}
