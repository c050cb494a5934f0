using DistTrain.Training.Checkpoints;

namespace DistTrain.Training.Tests.Checkpoints;

/// <summary>The process ends here, as kill -9 would have it.</summary>
public sealed class SimulatedCrash : Exception;

/// <summary>The real file system, until operation number <paramref name="failAt"/>: there it crashes, half a write done,
/// and does nothing any more; or the disk is full from there on, and removing still works.</summary>
internal sealed class FaultyFiles(int failAt, bool diskFull) : ICheckpointFiles
{
    private bool _dead;

    /// <summary>Operations asked for so far.</summary>
    public int Operations { get; private set; }

    public void CreateDirectory(string path)
    {
        Step(() => { });
        DiskFiles.Instance.CreateDirectory(path);
    }

    public IWritableFile Create(string path)
    {
        Step(() => { });
        return new FaultyFile(this, DiskFiles.Instance.Create(path));
    }

    public void Rename(string from, string to)
    {
        Step(() => { });
        DiskFiles.Instance.Rename(from, to);
    }

    public void DeleteDirectory(string path)
    {
        // Half removed: what a crash within it leaves.
        Step(() => File.Delete(Directory.EnumerateFiles(path).Order(StringComparer.Ordinal).First()), needsRoom: false);
        DiskFiles.Instance.DeleteDirectory(path);
    }

    public void SyncDirectory(string path)
    {
        Step(() => { }, needsRoom: false);
        DiskFiles.Instance.SyncDirectory(path);
    }

    public long? FreeBytes(string path) => 12_345;

    private void Step(Action half, bool needsRoom = true)
    {
        if (_dead) throw new SimulatedCrash();
        if (Operations++ < failAt) return;
        if (diskFull)
        {
            if (!needsRoom) return;
            half();
            throw new IOException("No space left on device", OperatingSystem.IsWindows() ? unchecked((int)0x80070070) : 28);
        }

        _dead = true;
        half();
        throw new SimulatedCrash();
    }

    private sealed class FaultyFile(FaultyFiles files, IWritableFile file) : IWritableFile
    {
        public void Write(long offset, ReadOnlySpan<byte> bytes)
        {
            byte[] half = bytes[..(bytes.Length / 2)].ToArray();
            files.Step(() => file.Write(offset, half));
            file.Write(offset, bytes);
        }

        public void Flush()
        {
            files.Step(() => { });
            file.Flush();
        }

        public FileDigest Digest() => file.Digest();

        public void Dispose() => file.Dispose();
    }
}
