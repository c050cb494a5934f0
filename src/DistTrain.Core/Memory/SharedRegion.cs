using System.Collections.Immutable;
using System.Runtime.InteropServices;
using System.Security.Cryptography;

namespace DistTrain.Core.Memory;

/// <summary>How another process of this host finds a region.</summary>
/// <param name="Pid">The process that made it.</param>
/// <param name="File">Its open file there.</param>
/// <param name="Length">Bytes.</param>
/// <param name="Nonce">What stands behind the last byte: random, so that what was opened is known to be meant.</param>
public readonly record struct SharedRegionName(int Pid, int File, long Length, UInt128 Nonce);

/// <summary>
/// Memory that processes of one host share. It has no name in any file system and goes when the last process that has it
/// mapped goes, however that ends. Its pages are all there from the beginning and its size is sealed, so that touching
/// it never fails. Linux only.
/// </summary>
/// <remarks>
/// Whoever makes a region may write to it; others read. A region is found by an address within it, so that whoever is
/// handed a pointer can tell whether it can be shared instead of copied.
/// </remarks>
public sealed unsafe class SharedRegion : IDisposable
{
    private static readonly Lock Registering = new();
    private static ImmutableArray<SharedRegion> _known = [];

    private readonly int _file;
    private readonly bool _own;
    private int _disposed;

    private SharedRegion(nint address, SharedRegionName name, int file, bool own)
    {
        (Address, Name, _file, _own) = (address, name, file, own);
    }

#pragma warning disable MA0055 // The finalizer is the safety net for native memory.
    /// <summary>Unmaps it when <see cref="Dispose"/> was not called.</summary>
    ~SharedRegion() => Free();
#pragma warning restore MA0055

    /// <summary>Whether this system can share memory.</summary>
    public static bool IsSupported { get; } = OperatingSystem.IsLinux() && (RuntimeInformation.ProcessArchitecture is Architecture.X64 or Architecture.Arm64);

    /// <summary>The first byte: at the beginning of a page.</summary>
    public nint Address { get; }

    /// <summary>How others find it.</summary>
    public SharedRegionName Name { get; }

    /// <summary>Bytes.</summary>
    public long Length => Name.Length;

    /// <summary>Makes a region of zeros; null when this system can't, or has not so much memory.</summary>
    public static SharedRegion? Create(long bytes)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(bytes, 1);
        if (!IsSupported) return null;
        long whole = Whole(bytes);
        int file = LinuxMemory.CreateFile("disttrain", whole);
        if (file < 0) return null;
        nint address = LinuxMemory.Map(0, whole, LinuxMemory.ReadWrite, LinuxMemory.Shared, file, 0);
        if (address == LinuxMemory.Failed)
        {
            LinuxMemory.Close(file);
            return null;
        }

        var nonce = new UInt128((ulong)RandomNumberGenerator.GetInt32(int.MaxValue) << 32 | (uint)RandomNumberGenerator.GetInt32(int.MaxValue), (ulong)Random.Shared.NextInt64());
        *(UInt128*)(address + whole - sizeof(UInt128)) = nonce;
        var region = new SharedRegion(address, new SharedRegionName(Environment.ProcessId, file, bytes, nonce), file, own: true);
        lock (Registering) _known = _known.Add(region);
        return region;
    }

    /// <summary>Maps another's region to read from; null when it isn't there (any more), or not on this host.</summary>
    public static SharedRegion? Open(SharedRegionName name)
    {
        if (!IsSupported || name.Length < 1 || name.Length > long.MaxValue / 2 || name.Pid < 1 || name.File < 0) return null;
        long whole = Whole(name.Length);
        int file = LinuxMemory.OpenFile(name.Pid, name.File, whole);
        if (file < 0) return null;
        nint address = LinuxMemory.Map(0, whole, LinuxMemory.ReadOnly, LinuxMemory.Shared, file, 0);
        if (address == LinuxMemory.Failed)
        {
            LinuxMemory.Close(file);
            return null;
        }

        if (*(UInt128*)(address + whole - sizeof(UInt128)) == name.Nonce) return new SharedRegion(address, name, file, own: false);
        LinuxMemory.Unmap(address, whole);
        LinuxMemory.Close(file);
        return null;
    }

    /// <summary>The region of this process's own making that an address lies in, and where; null for other memory.</summary>
    public static (SharedRegion Region, long Offset)? Find(nint address)
    {
        foreach (SharedRegion region in _known)
        {
            if (address >= region.Address && address < region.Address + region.Length) return (region, address - region.Address);
        }

        return null;
    }

    /// <summary>Unmaps it here; others that have it mapped keep it. Nobody may use its memory any more.</summary>
    public void Dispose()
    {
        Free();
        GC.SuppressFinalize(this);
    }

    /// <summary>Shows a part of the region at another address too, instead of what is there. Whole pages of both.</summary>
    internal bool MapAt(nint address, long offset, long bytes) =>
        LinuxMemory.Map(address, bytes, LinuxMemory.ReadOnly, LinuxMemory.Shared | LinuxMemory.Fixed, _file, offset) == address;

    // One page more, whose end holds the nonce.
    private static long Whole(long bytes) => LinuxMemory.RoundUp(bytes) + LinuxMemory.PageSize;

    private void Free()
    {
        if (Interlocked.Exchange(ref _disposed, 1) != 0) return;
        if (_own)
        {
            lock (Registering) _known = _known.Remove(this);
        }

        LinuxMemory.Unmap(Address, Whole(Length));
        LinuxMemory.Close(_file);
    }
}
