using System.Runtime.InteropServices;

namespace DistTrain.Kernels.Tests;

/// <summary>
/// Floats that end where an inaccessible page begins: a kernel that touches one float too many dies at once. On a
/// system without mmap it is plain memory with a canary behind it.
/// </summary>
internal sealed unsafe partial class BoundedMemory : IDisposable
{
    private const float Canary = 1234.5f;

    private readonly byte* _map;
    private readonly nuint _size;

    public BoundedMemory(int length)
    {
        Length = length;
        nuint page = (nuint)Environment.SystemPageSize;
        nuint bytes = (nuint)length * sizeof(float);
        nuint usable = Math.Max((bytes + page - 1) / page * page, page);
        if (OperatingSystem.IsLinux())
        {
            _size = usable + page;
            _map = (byte*)MemoryMap(null, _size, 3, 0x22, -1, 0);
            if (_map == (byte*)-1 || MemoryProtect(_map + usable, page, 0) != 0) throw new InvalidOperationException("No bounded memory.");
            Pointer = (float*)(_map + usable - bytes);
        }
        else
        {
            _map = (byte*)NativeMemory.AllocZeroed(bytes + sizeof(float));
            Pointer = (float*)_map;
            Pointer[length] = Canary;
        }
    }

    public int Length { get; }

    public float* Pointer { get; }

    public Span<float> Span => new(Pointer, Length);

    public void Dispose()
    {
        if (OperatingSystem.IsLinux())
        {
            _ = MemoryUnmap(_map, _size);
            return;
        }
        bool intact = Pointer[Length] == Canary;
        NativeMemory.Free(_map);
        Assert.True(intact, "A kernel wrote behind its output.");
    }

    [LibraryImport("libc", EntryPoint = "mmap")]
    private static partial void* MemoryMap(void* address, nuint length, int protection, int flags, int file, nint offset);

    [LibraryImport("libc", EntryPoint = "mprotect")]
    private static partial int MemoryProtect(void* address, nuint length, int protection);

    [LibraryImport("libc", EntryPoint = "munmap")]
    private static partial int MemoryUnmap(void* address, nuint length);
}
