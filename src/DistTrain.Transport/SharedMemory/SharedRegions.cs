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
    public (SharedRegion Region, NativeSpan Place)? Find(Wire.SharedBytes shared) => Find(NameOf(shared), shared.Offset, shared.Bytes);

    /// <inheritdoc cref="Find(Wire.SharedBytes)"/>
    public (SharedRegion Region, NativeSpan Place)? Find(SharedRegionName name, long offset, long bytes)
    {
        if (offset < 0 || bytes < 0 || offset > name.Length - bytes || offset % sizeof(float) != 0 || bytes % sizeof(float) != 0) return null;
        if (bytes / sizeof(float) > int.MaxValue || Region(name) is not { } region) return null;
        return (region, new NativeSpan(region.Address + (nint)offset, (int)(bytes / sizeof(float))));
    }

    /// <summary>The region that a message names.</summary>
    public static SharedRegionName NameOf(Wire.SharedBytes shared) => new(shared.Pid, shared.File, shared.Length, new UInt128(shared.NonceHigh, shared.NonceLow));

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

    private SharedRegion? Region(SharedRegionName name)
    {
        foreach (SharedRegion known in _regions)
        {
            if (known.Name == name) return known;
        }

        if (_regions.Count == MostRegions || (_pid != 0 && name.Pid != _pid) || (_regions.Count > 0 && _regions[0].Name.Pid != name.Pid)) return null;
        SharedRegion? region = SharedRegion.Open(name);
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
