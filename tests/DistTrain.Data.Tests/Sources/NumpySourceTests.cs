using System.IO.Compression;
using System.Runtime.InteropServices;
using System.Text;
using DistTrain.Core;

namespace DistTrain.Data.Tests.Sources;

public sealed class NumpySourceTests : IDisposable
{
    private readonly TestFiles _files = new();

    public void Dispose() => _files.Dispose();

    /// <summary>An array as NumPy saves it.</summary>
    private static byte[] Npy<T>(string descr, T[] values, string shape, byte version = 1, string order = "False")
        where T : unmanaged
    {
        string header = $"{{'descr': '{descr}', 'fortran_order': {order}, 'shape': ({shape}), }}";
        header = header.PadRight(117) + "\n";
        byte[] length = version == 1 ? [(byte)header.Length, 0] : [(byte)header.Length, 0, 0, 0];
        return [0x93, .. "NUMPY"u8, version, 0, .. length, .. Encoding.ASCII.GetBytes(header), .. MemoryMarshal.AsBytes<T>(values)];
    }

    private LoadedData LoadArrays(byte[] x, byte[] y, DataSource? source = null) => DatasetLoader.Load(
        (source ?? new()) with { Path = _files.Write("a.npy", x), LabelsPath = _files.Write("b.npy", y), TestFraction = 0 }, 1);

    // In the split's order: sorted by the first feature, which the tests make ascending.
    private static float[][] Rows(IDataset data) => [.. TestFiles.Inputs(data).Chunk(data.FeatureCount).OrderBy(r => r[0])];

    public static TheoryData<byte[]> Types() => new(
        Npy("<f4", new float[] { 1, 2, 3, 4, 5, 6 }, "3, 2"),
        Npy("<f8", new double[] { 1, 2, 3, 4, 5, 6 }, "3, 2", version: 2),
        Npy("|u1", new byte[] { 1, 2, 3, 4, 5, 6 }, "3, 2", version: 3),
        Npy("|i1", new sbyte[] { 1, 2, 3, 4, 5, 6 }, "3, 2"),
        Npy("<i2", new short[] { 1, 2, 3, 4, 5, 6 }, "3, 2"),
        Npy("<u2", new ushort[] { 1, 2, 3, 4, 5, 6 }, "3, 2"),
        Npy("<i4", new[] { 1, 2, 3, 4, 5, 6 }, "3, 2"),
        Npy("<u4", new uint[] { 1, 2, 3, 4, 5, 6 }, "3, 2"),
        Npy("<i8", new long[] { 1, 2, 3, 4, 5, 6 }, "3, 2"));

    [Theory]
    [MemberData(nameof(Types))]
    public void Load_AnyType_IsTheNumbersTimesTheScale(byte[] array)
    {
        LoadedData data = LoadArrays(array, Npy("<i8", new long[] { 0, 2, 1 }, "3,"), new() { Scale = 0.5 });
        Assert.Equal([2], data.Train.InputShape.ToArray());
        Assert.Equal(TargetSpec.Classes(3), data.Train.Target);
        Assert.Equal([0.5f, 1, 1.5f, 2, 2.5f, 3], Rows(data.Train).SelectMany(r => r));
        Assert.Equal([0, 2, 1], TestFiles.Inputs(data.Train).Where((_, i) => i % 2 == 0).Zip(TestFiles.Labels(data.Train)).OrderBy(p => p.First).Select(p => p.Second));
        LoadedData plain = LoadArrays(array, Npy("<i4", new[] { 0, 2, 1 }, "3,"), new() { Classes = 7 });
        bool bytes = Encoding.ASCII.GetString(array).Contains("|u1", StringComparison.Ordinal);
        Assert.Equal(bytes ? [(float)(1.0 / 255), (float)(2.0 / 255)] : [1f, 2f], Rows(plain.Train)[0]);
        Assert.Equal(TargetSpec.Classes(7), plain.Train.Target);
    }

    [Fact]
    public void Load_Standardize_IsByFeatureOverTheTrainingPart()
    {
        // Columns of mean 3 and 70, deviation sqrt(8/3) and 0; the test rows take part in neither.
        _files.Write("x_train.npy", Npy("<f8", new double[] { 1, 70, 3, 70, 5, 70 }, "3, 2"));
        _files.Write("y_train.npy", Npy("<i4", new[] { 0, 1, 0 }, "3,"));
        _files.Write("x_test.npy", Npy("<f8", new double[] { 7, 71 }, "1, 2"));
        _files.Write("y_test.npy", Npy("<i4", new[] { 1 }, "1,"));
        var source = new DataSource { Name = "numpy", Path = _files.Directory, Standardize = true };
        LoadedData data = DatasetLoader.Load(source, 1);
        float step = (float)(2 / Math.Sqrt(8.0 / 3));
        Assert.Equal([-step, 0, 0, 0, step, 0], TestFiles.Inputs(data.Train));
        Assert.Equal([2 * step, 1], TestFiles.Inputs(data.Test!));
        Assert.Equal(0, data.Train.Black);
    }

    [Theory]
    [InlineData("|u1")]
    [InlineData("<f4")]
    public void Load_StandardizeImages_IsOverAllPixelsOfTheTrainingPart(string descr)
    {
        byte[] pixels = [.. Enumerable.Range(0, 10 * 3 * 100).Select(i => (byte)(i * 7 % 251))];
        byte[] array = descr == "|u1" ? Npy(descr, pixels, "10, 3, 10, 10") : Npy(descr, [.. pixels.Select(p => (float)p)], "10, 3, 10, 10");
        var source = new DataSource { Name = "numpy", Path = _files.Write("x.npy", array), LabelsPath = _files.Write("y.npy", Npy("|u1", new byte[10], "10,")), Classes = 2 };
        LoadedData plain = DatasetLoader.Load(source with { Scale = 1 }, 3), data = DatasetLoader.Load(source with { Standardize = true }, 3);
        float[] raw = TestFiles.Inputs(plain.Train), train = TestFiles.Inputs(data.Train);
        Assert.Equal(8, data.Train.Count);
        double mean = raw.Average(), deviation = Math.Sqrt(raw.Average(v => (v - mean) * (v - mean)));
        for (int i = 0; i < raw.Length; i++) Assert.Equal((raw[i] - mean) / deviation, train[i], 1e-6);
        Assert.Equal(-mean / deviation, data.Train.Black, 1e-6);
        Assert.Equal((TestFiles.Inputs(plain.Test!)[0] - mean) / deviation, TestFiles.Inputs(data.Test!)[0], 1e-6);
        Assert.Equal(plain.DataHash, data.DataHash);
    }

    [Fact]
    public void Load_Targets_FollowTheirTypeAndShape()
    {
        byte[] x = Npy("<f4", new float[] { 1, 2 }, "2,");
        LoadedData real = LoadArrays(x, Npy("<f8", new[] { 0.5, 1.5, 2.5, 3.5 }, "2, 2"));
        Assert.Equal(TargetSpec.Real(2), real.Train.Target);
        Assert.Equal([1], real.Train.InputShape.ToArray());
        Assert.Equal([0.5f, 1.5f, 2.5f, 3.5f], TestFiles.Targets(real.Train).Order());
        LoadedData tokens = LoadArrays(x, Npy("<i2", new short[] { 3, -1, 0, 2, 1, -1 }, "2, 3"));
        Assert.Equal(TargetSpec.Classes(4, 3), tokens.Train.Target);
        int[] labels = TestFiles.Labels(tokens.Train);
        Assert.Equal(TestFiles.Inputs(tokens.Train)[0] == 1 ? [3, -1, 0, 2, 1, -1] : [2, 1, -1, 3, -1, 0], labels);
        Assert.Equal([1, 2, 2], LoadArrays(Npy("|u1", new byte[8], "2, 2, 2"), Npy("|b1", new[] { true, false }, "2, 1")).Train.InputShape.ToArray());
    }

    [Theory]
    [InlineData(CompressionLevel.NoCompression)]
    [InlineData(CompressionLevel.Optimal)]
    public void Load_Archive_TakesItsTestPart(CompressionLevel level)
    {
        string path = _files.Path("d.npz");
        using (ZipArchive archive = ZipFile.Open(path, ZipArchiveMode.Create))
        {
            void Add(string name, byte[] bytes)
            {
                using Stream stream = archive.CreateEntry(name, level).Open();
                stream.Write(bytes);
            }

            Add("x_train.npy", Npy("<f4", new float[] { 1, 2, 3 }, "3, 1"));
            Add("y_train.npy", Npy("<i8", new long[] { 0, 1, 2 }, "3,"));
            Add("x_test.npy", Npy("<f4", new float[] { 9 }, "1, 1"));
            Add("y_test.npy", Npy("<i8", new long[] { 1 }, "1,"));
        }

        LoadedData data = DatasetLoader.Load(new() { Path = path }, 1);
        Assert.Equal([1, 2, 3], TestFiles.Inputs(data.Train));
        Assert.Equal([9], TestFiles.Inputs(data.Test!));
        Assert.Equal(TargetSpec.Classes(3), data.Test!.Target);
        Assert.Equal("numpy", data.Name);

        // The same arrays unpacked have the same hash.
        string directory = Directory.CreateDirectory(_files.Path("d")).FullName;
        ZipFile.ExtractToDirectory(path, directory);
        Assert.Equal(data.DataHash, DatasetLoader.Load(new() { Name = "numpy", Path = directory }, 1).DataHash);

        byte[] bytes = File.ReadAllBytes(path);
        int at = bytes.AsSpan().IndexOf(Npy("<f4", new float[] { 9 }, "1, 1").AsSpan(60));
        if (level != CompressionLevel.NoCompression) return;
        bytes[at + 70] ^= 1;
        var e = Assert.Throws<DistTrainException>(() => DatasetLoader.Load(new() { Path = _files.Write("e.npz", bytes) }, 1));
        Assert.Equal(ExitCode.BadData, e.ExitCode);
    }

    public static TheoryData<byte[], byte[], string> Wrong()
    {
        byte[] x = Npy("<f4", new float[] { 1, 2 }, "2,"), y = Npy("<i4", new[] { 0, 1 }, "2,");
        return new()
        {
            { Npy(">f4", new float[2], "2,"), y, "a.npy: elements of type '>f4'" },
            { Npy("<f4", new float[4], "2, 2", order: "True"), y, "a.npy: in Fortran order" },
            { Npy("<f4", new float[2], "3,"), y, "a.npy: its header claims 3 of '<f4' = 12 bytes after offset 128; the file has 136" },
            { Npy("<f4", new float[3], "2,"), y, "a.npy: offset 136: bytes after the end" },
            { Npy("<f4", new float[1], ""), y, "a.npy: a single number" },
            { Npy("<f4", new float[1], "99999999999, 99999999999, 99999999999"), y, "a.npy: dimension 1" },
            { x[..20], y, "a.npy: cut off within its header" },
            { [1, 2, 3], y, "a.npy: no NumPy array" },
            { x, Npy("<i4", new[] { 0 }, "1,"), "b.npy: 1 rows" },
            { x, Npy("<i4", new[] { 0, -1 }, "2,"), "b.npy: row 1: label -1" },
            { x, Npy("<i8", new long[] { 0, 1L << 40 }, "2,"), "b.npy: row 1: label" },
        };
    }

    [Theory]
    [MemberData(nameof(Wrong))]
    public void Load_BadArrays_AreNamed(byte[] x, byte[] y, string expected)
    {
        var e = Assert.Throws<DistTrainException>(() => LoadArrays(x, y));
        Assert.Equal(ExitCode.BadData, e.ExitCode);
        Assert.Contains(expected, e.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Read_Mapped_IsTheSameAsInMemory()
    {
        string path = _files.Write("m.npy", Npy("<i4", Enumerable.Range(0, 5000).ToArray(), "1000, 5"));
        using DataFile first = DataFile.Open(path), second = DataFile.Open(path);
        NpyFile memory = NpyFile.Read(first), mapped = NpyFile.Read(second, mapFrom: 1);
        Assert.True(mapped.Elements.IsMapped && !memory.Elements.IsMapped);
        Assert.Equal(memory.Elements.Slice(0, 20_000).ToArray(), mapped.Elements.Slice(0, 20_000).ToArray());
        Assert.Throws<ArgumentOutOfRangeException>(() => mapped.Elements.Slice(19_999, 2).Length);
        File.AppendAllText(path, "x");
        using DataFile longer = DataFile.Open(path);
        Assert.Contains("bytes after the end", Assert.Throws<DistTrainException>(() => NpyFile.Read(longer, mapFrom: 1)).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Load_ArchiveThatClaimsGigabytes_IsRefusedBeforeMemoryIsTaken()
    {
        using var memory = new MemoryStream();
        using (var archive = new ZipArchive(memory, ZipArchiveMode.Create))
        {
            using Stream entry = archive.CreateEntry("x.npy").Open();
            entry.Write(Npy("<f4", new float[2], "2,"));
        }

        byte[] zip = memory.ToArray();
        int listed = zip.AsSpan().IndexOf("PK\u0001\u0002"u8);
        BitConverter.TryWriteBytes(zip.AsSpan(listed + 24), 1 << 30);
        long before = GC.GetAllocatedBytesForCurrentThread();
        var e = Assert.Throws<DistTrainException>(() => DatasetLoader.Load(new() { Path = _files.Write("f.npz", zip) }, 1));
        Assert.Contains("can't hold", e.Message, StringComparison.Ordinal);
        Assert.InRange(GC.GetAllocatedBytesForCurrentThread() - before, 0, 16 << 20);
    }

    [Fact]
    public void Load_OneHighLabel_TakesLittleMemory()
    {
        byte[] x = Npy("<f4", new float[] { 1, 2 }, "2,"), y = Npy("<i4", new[] { 0, 999_999 }, "2,");
        _ = LoadArrays(x, y);
        long before = GC.GetAllocatedBytesForCurrentThread();
        LoadedData data = LoadArrays(x, y);
        Assert.InRange(GC.GetAllocatedBytesForCurrentThread() - before, 0, 1 << 20);
        Assert.Equal((1_000_000, "999999"), (data.ClassNames.Count, data.ClassNames[^1]));
    }
}
