using System.Runtime.InteropServices;

namespace DistTrain.Core.Memory;

/// <summary>The calls of Linux that shared memory takes.</summary>
internal static partial class LinuxMemory
{
    public const int ReadOnly = 1, ReadWrite = 3;
    public const int Shared = 1, Private = 2, Fixed = 0x10, Anonymous = 0x20, NoReserve = 0x4000;
    public const nint Failed = -1;

    private const uint CloseOnExec = 1, AllowSealing = 2;
    private const int AddSeals = 1033, GetSeals = 1034;
    private const int OpenReadOnly = 0, OpenNonBlocking = 0x800, OpenCloseOnExec = 0x80000;
    private const int SeekEnd = 2;

    // No one may change the size any more, nor these seals.
    private const int Seals = 1 | 2 | 4;

    public static long PageSize { get; } = Environment.SystemPageSize;

    public static long RoundUp(long bytes) => (bytes + PageSize - 1) / PageSize * PageSize;

    /// <summary>An open file of so many bytes that has no name, all of them there; -1 when they can't be had.</summary>
    public static int CreateFile(string label, long bytes)
    {
        int file = memfd_create(label, CloseOnExec | AllowSealing);
        if (file < 0) return -1;
        // Space that is only promised would end the process that touches it when there is none.
        if (ftruncate(file, bytes) == 0 && posix_fallocate(file, 0, bytes) == 0 && fcntl(file, AddSeals, Seals) == 0) return file;
        _ = close(file);
        return -1;
    }

    /// <summary>Opens another process's file; -1 when that can't be, or when its size is not fixed at so many bytes.</summary>
    public static int OpenFile(int pid, int file, long bytes)
    {
        // Whoever names a pipe that nobody writes to must not stop this process.
        int own = open($"/proc/{pid}/fd/{file}", OpenReadOnly | OpenNonBlocking | OpenCloseOnExec);
        if (own < 0) return -1;
        int seals = fcntl(own, GetSeals, 0);
        if (seals >= 0 && (seals & Seals) == Seals && lseek(own, 0, SeekEnd) == bytes) return own;
        _ = close(own);
        return -1;
    }

    public static nint Map(nint at, long bytes, int protection, int flags, int file, long offset) =>
        mmap(at, (nuint)bytes, protection, flags, file, offset);

    public static void Unmap(nint at, long bytes) => _ = munmap(at, (nuint)bytes);

    public static void Close(int file) => _ = close(file);

    [LibraryImport("libc", StringMarshalling = StringMarshalling.Utf8)]
    private static partial int memfd_create(string name, uint flags);

    [LibraryImport("libc")]
    private static partial int ftruncate(int file, long length);

    [LibraryImport("libc")]
    private static partial int posix_fallocate(int file, long offset, long length);

    [LibraryImport("libc")]
    private static partial int fcntl(int file, int command, int argument);

    [LibraryImport("libc", StringMarshalling = StringMarshalling.Utf8)]
    private static partial int open(string path, int flags);

    [LibraryImport("libc")]
    private static partial long lseek(int file, long offset, int whence);

    [LibraryImport("libc")]
    private static partial int close(int file);

    [LibraryImport("libc")]
    private static partial nint mmap(nint at, nuint length, int protection, int flags, int file, long offset);

    [LibraryImport("libc")]
    private static partial int munmap(nint at, nuint length);
}
