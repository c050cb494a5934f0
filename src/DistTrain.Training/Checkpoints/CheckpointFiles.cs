using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace DistTrain.Training.Checkpoints;

/// <summary>What a checkpoint store changes on disk, one call an operation, so that tests can fail or stop at each.</summary>
internal interface ICheckpointFiles
{
    void CreateDirectory(string path);

    /// <summary>Creates a file that must not exist.</summary>
    IWritableFile Create(string path);

    /// <summary>Renames a directory; the new name must be free.</summary>
    void Rename(string from, string to);

    void DeleteDirectory(string path);

    /// <summary>Makes the entries of a directory survive a loss of power, where the system can do that.</summary>
    void SyncDirectory(string path);

    /// <summary>Bytes free to this user where <paramref name="path"/> lies, or null.</summary>
    long? FreeBytes(string path);
}

/// <summary>A file under construction. Writes may run at once.</summary>
internal interface IWritableFile : IDisposable
{
    void Write(long offset, ReadOnlySpan<byte> bytes);

    /// <summary>Makes what was written survive a loss of power.</summary>
    void Flush();

    FileDigest Digest();
}

/// <summary>The real file system.</summary>
internal sealed partial class DiskFiles : ICheckpointFiles
{
    public static DiskFiles Instance { get; } = new();

    public void CreateDirectory(string path) => Directory.CreateDirectory(path);

    public IWritableFile Create(string path) => new DiskFile(path);

    public void Rename(string from, string to) => Directory.Move(from, to);

    public void DeleteDirectory(string path) => Directory.Delete(path, recursive: true);

    public void SyncDirectory(string path)
    {
        // .NET opens no directories; Windows and file systems that can't sync one have no need or no way to.
        if (OperatingSystem.IsWindows()) return;
        int descriptor = Open(path, 0);
        if (descriptor < 0) return;
        _ = Sync(descriptor);
        _ = Close(descriptor);
    }

    public long? FreeBytes(string path)
    {
        try
        {
            return new DriveInfo(Path.GetFullPath(path)).AvailableFreeSpace;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or ArgumentException)
        {
            return null;
        }
    }

    [LibraryImport("libc", EntryPoint = "open", StringMarshalling = StringMarshalling.Utf8)]
    private static partial int Open(string path, int flags);

    [LibraryImport("libc", EntryPoint = "fsync")]
    private static partial int Sync(int descriptor);

    [LibraryImport("libc", EntryPoint = "close")]
    private static partial int Close(int descriptor);

    private sealed class DiskFile(string path) : IWritableFile
    {
        private readonly SafeFileHandle _handle = File.OpenHandle(path, FileMode.CreateNew, FileAccess.ReadWrite, FileShare.Read);

        public void Write(long offset, ReadOnlySpan<byte> bytes) => RandomAccess.Write(_handle, bytes, offset);

        public void Flush() => RandomAccess.FlushToDisk(_handle);

        public FileDigest Digest() => SafetensorsReader.Digest(_handle, RandomAccess.GetLength(_handle), path);

        public void Dispose() => _handle.Dispose();
    }
}
