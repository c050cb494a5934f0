using DistTrain.Core.Channels;

namespace DistTrain.Core.Memory;

/// <summary>
/// A vector's memory, whole pages of which can show parts of <see cref="SharedRegion"/>s: what somebody else writes is read
/// in place. Linux only. Pages at the ends of such a part that belong to two of them stay this memory's own.
/// </summary>
public sealed unsafe class OverlayMemory : IDisposable
{
    private readonly long _bytes;
    private nint _address;

    private OverlayMemory(nint address, long bytes) => (_address, _bytes) = (address, bytes);

#pragma warning disable MA0055 // The finalizer is the safety net for native memory.
    /// <summary>Unmaps it when <see cref="Dispose"/> was not called.</summary>
    ~OverlayMemory() => Free();
#pragma warning restore MA0055

    /// <summary>The first float, at the beginning of a page.</summary>
    public float* Pointer => (float*)_address;

    /// <summary>Takes room for so many floats, all +0; null where that can't be.</summary>
    public static OverlayMemory? Create(long length)
    {
        if (!SharedRegion.IsSupported) return null;
        long bytes = LinuxMemory.RoundUp(Math.Max(length, 1) * sizeof(float));
        nint address = LinuxMemory.Map(0, bytes, LinuxMemory.ReadWrite, LinuxMemory.Private | LinuxMemory.Anonymous, -1, 0);
        return address == LinuxMemory.Failed ? null : new OverlayMemory(address, bytes);
    }

    /// <summary>The bytes before the first whole page of [start, end), or all of them when there is none: those stay this memory's own.</summary>
    /// <param name="start">The first byte, from <see cref="Pointer"/> on.</param>
    /// <param name="end">The byte after the last.</param>
    public static (long FirstWhole, long EndWhole) WholePages(long start, long end)
    {
        long first = LinuxMemory.RoundUp(start), last = end / LinuxMemory.PageSize * LinuxMemory.PageSize;
        return last > first ? (first, last) : (end, end);
    }

    /// <summary>
    /// Shows bytes of a region from <paramref name="start"/> on, as far as they fill whole pages (<see cref="WholePages"/>).
    /// </summary>
    /// <param name="region">The region.</param>
    /// <param name="offset">Where in the region the byte for <paramref name="start"/> lies; as far from a page's beginning as that.</param>
    /// <param name="start">The first byte here.</param>
    /// <param name="bytes">How many.</param>
    /// <returns>Whether they are shown.</returns>
    public bool TryShow(SharedRegion region, long offset, long start, long bytes)
    {
        if ((offset - start) % LinuxMemory.PageSize != 0 || start < 0 || bytes < 0 || start + bytes > _bytes || offset < 0 || offset + bytes > region.Length) return false;
        (long first, long end) = WholePages(start, start + bytes);
        return first == end || region.MapAt(_address + (nint)first, offset + (first - start), end - first);
    }

    /// <summary>Shows nothing of anybody's any more in so many bytes from <paramref name="start"/> on: what they showed is own memory, all +0.</summary>
    public void Hide(long start, long bytes)
    {
        (long first, long end) = WholePages(start, start + bytes);
        if (first == end) return;
        nint at = LinuxMemory.Map(
            _address + (nint)first, end - first, LinuxMemory.ReadWrite, LinuxMemory.Private | LinuxMemory.Anonymous | LinuxMemory.Fixed, -1, 0);
        if (at == LinuxMemory.Failed) throw new InvalidOperationException("the system gave no memory in place of what was shared");
    }

    /// <summary>Gives the memory back.</summary>
    public void Dispose()
    {
        Free();
        GC.SuppressFinalize(this);
    }

    private void Free()
    {
        nint address = Interlocked.Exchange(ref _address, 0);
        if (address != 0) LinuxMemory.Unmap(address, _bytes);
    }
}
