using DistTrain.Core;
using DistTrain.Core.Layout;
using DistTrain.Training.Checkpoints;

namespace DistTrain.Training.Tests.Checkpoints;

public sealed class CheckpointDamageTests : IDisposable
{
    private readonly Fixture _fixture = new();

    public void Dispose() => _fixture.Dispose();

    [Theory]
    [InlineData("model.safetensors")]
    [InlineData("optimizer.safetensors")]
    [InlineData("manifest.json")]
    public void Load_AnyByteFlipped_IsFoundAndNamed(string name)
    {
        string file = Path.Combine(_fixture.Save(_fixture.Store(), 1), name);
        byte[] bytes = File.ReadAllBytes(file);
        for (int i = 0; i < bytes.Length; i++)
        {
            byte original = bytes[i];
            bytes[i] ^= (byte)(1 << (i % 8));
            AssertRefused(file, bytes, $"byte {i}");
            bytes[i] = original;
        }
    }

    [Theory]
    [InlineData("model.safetensors")]
    [InlineData("optimizer.safetensors")]
    [InlineData("manifest.json")]
    public void Load_CutOffAtAnyByte_IsFoundAndNamed(string name)
    {
        string file = Path.Combine(_fixture.Save(_fixture.Store(), 1), name);
        byte[] bytes = File.ReadAllBytes(file);
        for (int length = 0; length < bytes.Length; length++) AssertRefused(file, bytes[..length], $"length {length}");
        AssertRefused(file, [.. bytes, 0], "a byte more");
    }

    [Fact]
    public void Save_KilledAtAnyOperation_LeavesTheLastGoodOneAndIsCleanedUp()
    {
        var dry = new FaultyFiles(int.MaxValue, diskFull: false);
        _fixture.Save(_fixture.Store(keep: 1), 1);
        _fixture.Save(_fixture.Store(keep: 1, dry), 2);
        Assert.InRange(dry.Operations, 30, 200);
        int renamed = 0;
        for (int at = 0; at < dry.Operations; at++)
        {
            using var fixture = new Fixture();
            fixture.Save(fixture.Store(), 1);
            CheckpointStore dying = fixture.Store(keep: 1, new FaultyFiles(at, diskFull: false));
            CheckpointDraft? draft = null;
            Assert.Throws<SimulatedCrash>(() =>
            {
                draft = dying.Begin(2, Fixture.Layout, Fixture.StateVectors);
                Fixture.Fill(draft, 2);
                draft.Complete(Fixture.Manifest(2));
            });
            CheckpointStore next = fixture.Store();
            using (LoadedCheckpoint? latest = next.Latest())
            {
                Assert.NotNull(latest);
                Fixture.AssertHolds(latest, latest.Manifest.Version);
                if (latest.Manifest.Version == 2) renamed++;
                else Assert.Equal(0, renamed);
            }

            fixture.Save(next, 3);
            Assert.DoesNotContain(fixture.Names(), n => n.StartsWith('.'));
            Assert.Empty(fixture.Warnings);
        }

        // After the rename: sync, and the removal of the first in two operations.
        Assert.Equal(3, renamed);
    }

    [Fact]
    public void Save_DiskFullAtAnyOperation_SaysSoAndLeavesTheOthersIntact()
    {
        _fixture.Save(_fixture.Store(), 1);
        bool saved = false;
        int refused = 0;
        for (int at = 0; !saved; at++)
        {
            CheckpointStore store = _fixture.Store(files: new FaultyFiles(at, diskFull: true));
            try
            {
                _fixture.Save(store, 2);
                saved = true;
            }
            catch (DistTrainException e)
            {
                refused++;
                Assert.Equal(ExitCode.BadData, e.ExitCode);
                Assert.Equal($"{_fixture.Directory}/step-00000002: the disk is full: it needs 240 bytes, 12,345 bytes are free; it was not written, earlier checkpoints are intact", e.Message);
                Assert.Equal(["step-00000001"], _fixture.Names());
            }
        }

        Assert.InRange(refused, 20, 200);
        using LoadedCheckpoint? latest = _fixture.Store().Latest();
        Fixture.AssertHolds(latest!, 2);
        Assert.Empty(_fixture.Warnings);
    }

    [Fact]
    public void IsDiskFull_OnTheKernelsOwnFullDevice_IsRecognised()
    {
        if (!OperatingSystem.IsLinux()) return;
        var e = Assert.ThrowsAny<IOException>(() =>
        {
            using var full = File.OpenHandle("/dev/full", FileMode.Open, FileAccess.Write);
            RandomAccess.Write(full, new byte[1], 0);
        });
        Assert.True(StorageError.IsDiskFull(e), $"{e.Message} {e.HResult}");
        Assert.False(StorageError.IsDiskFull(new FileNotFoundException()));
    }

    [Fact]
    public void Begin_DirectoryThatIsAFile_NamesIt()
    {
        File.WriteAllText(_fixture.Directory, "a file");
        var e = Assert.Throws<DistTrainException>(() => _fixture.Store().Begin(1, Fixture.Layout, []));
        Assert.Equal(ExitCode.BadData, e.ExitCode);
        Assert.StartsWith(Path.Combine(_fixture.Directory, "step-00000001") + ": the checkpoint can't be written: ", e.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Latest_TornOrGarbledAt500PlacesOfALargeOne_IsTheLastGoodOne()
    {
        var layout = new ParameterLayout([("weight", [1000, 1024], TensorRole.Parameter)]);
        float[] values = [.. Enumerable.Range(0, (int)layout.Length).Select(i => (float)i)];
        foreach (long version in (long[])[1, 2])
        {
            using CheckpointDraft draft = _fixture.Store().Begin(version, layout, Fixture.StateVectors);
            foreach (string vector in (string[])["weights", .. Fixture.StateVectors]) draft.Write(vector, 0, values);
            draft.Complete(Fixture.Manifest(version));
        }

        string newest = Path.Combine(_fixture.Directory, "step-00000002");
        string[] files = [.. Directory.GetFiles(newest)];
        var random = new Random(14);
        for (int i = 0; i < 500; i++)
        {
            string file = files[random.Next(files.Length)];
            using (FileStream open = File.Open(file, FileMode.Open, FileAccess.ReadWrite))
            {
                long at = random.NextInt64(open.Length);
                // Torn, as after a crash of the machine: cut off, or with a page that was never written.
                byte[] before = new byte[i % 2 == 0 ? open.Length - at : Math.Min(random.Next(1, 4096), open.Length - at)];
                open.Position = at;
                open.ReadExactly(before);
                byte[] garbage = new byte[before.Length];
                if (i % 4 == 1) random.NextBytes(garbage);
                if (garbage.AsSpan().SequenceEqual(before)) garbage[0]++;
                open.Position = at;
                if (i % 2 == 0) open.SetLength(at);
                else open.Write(garbage);
                open.Flush();

                using (LoadedCheckpoint? latest = _fixture.Store().Latest())
                {
                    Assert.True(latest?.Manifest.Version == 1, $"damage {i} of {Path.GetFileName(file)} at {at} went unnoticed");
                }

                open.Position = at;
                open.Write(before);
            }
        }

        using LoadedCheckpoint? whole = _fixture.Store().Latest();
        Assert.Equal(2, whole!.Manifest.Version);
        Assert.Equal(500, _fixture.Warnings.Count);
        float[] read = new float[1000];
        whole.Read("moment2", 500_000, read);
        Assert.Equal(values[500_000..501_000], read);
    }

    private static void AssertRefused(string file, byte[] bytes, string what)
    {
        File.WriteAllBytes(file, bytes);
        try
        {
            CheckpointStore.Load(Path.GetDirectoryName(file)!).Dispose();
        }
        catch (DistTrainException e)
        {
            Assert.Equal(ExitCode.BadData, e.ExitCode);
            Assert.StartsWith(file + ": ", e.Message, StringComparison.Ordinal);
            return;
        }

        Assert.Fail($"{what} of {file} went unnoticed");
    }
}
