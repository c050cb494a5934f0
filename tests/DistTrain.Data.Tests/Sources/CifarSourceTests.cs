using DistTrain.Core;

namespace DistTrain.Data.Tests.Sources;

public sealed class CifarSourceTests : IDisposable
{
    private const int Pixels = 3 * 32 * 32;

    private readonly TestFiles _files = new();

    public void Dispose() => _files.Dispose();

    // Records whose first pixel and label tell which they are.
    private static byte[] Records(int first, int count, int classes, bool coarse) => [.. Enumerable.Range(first, count).SelectMany(i =>
        (byte[])[.. coarse ? new byte[] { 7 } : [], (byte)(i % classes), (byte)i, .. Enumerable.Repeat((byte)255, Pixels - 1)])];

    private void WriteTen(string directory)
    {
        Directory.CreateDirectory(_files.Path(directory));
        for (int i = 0; i < 5; i++) _files.Write($"{directory}/data_batch_{i + 1}.bin", Records(10 * i, i + 1, 10, coarse: false));
        _files.Write($"{directory}/test_batch.bin", Records(100, 3, 10, coarse: false));
    }

    [Fact]
    public void Load_Cifar10_JoinsItsFiveFiles()
    {
        WriteTen("cifar-10-batches-bin");
        LoadedData data = DatasetLoader.Load(new() { Name = "cifar-10", Path = _files.Directory }, 1);
        Assert.Equal([3, 32, 32], data.Train.InputShape.ToArray());
        Assert.Equal((15, 3), (data.Train.Count, data.Test!.Count));
        int[] expected = [.. Enumerable.Range(0, 5).SelectMany(f => Enumerable.Range(10 * f, f + 1))];
        Assert.Equal(expected.Select(i => i % 10), TestFiles.Labels(data.Train));
        float[][] images = [.. TestFiles.Inputs(data.Train).Chunk(Pixels)];
        Assert.Equal(expected.Select(i => i * (float)(1.0 / 255)), images.Select(i => i[0]));
        Assert.All(images, i => Assert.All(i[1..], v => Assert.Equal(1, v, 1e-6f)));
        Assert.Equal("frog", data.ClassNames[6]);
    }

    [Fact]
    public void Load_Cifar10Standardized_HasMean0AndDeviation1()
    {
        WriteTen("d");
        float[] inputs = TestFiles.Inputs(DatasetLoader.Load(new() { Name = "cifar-10", Path = _files.Path("d"), Standardize = true }, 1).Train);
        Assert.Equal(0, inputs.Average(v => (double)v), 1e-4);
        Assert.Equal(1, inputs.Average(v => (double)v * v), 1e-3);
    }

    [Fact]
    public void Load_Cifar100_TakesTheFineLabel()
    {
        _files.Write("train.bin", Records(0, 120, 100, coarse: true));
        _files.Write("test.bin", Records(5, 2, 100, coarse: true));
        LoadedData data = DatasetLoader.Load(new() { Name = "cifar-100", Path = _files.Directory }, 1);
        Assert.Equal(TargetSpec.Classes(100), data.Train.Target);
        Assert.Equal(Enumerable.Range(0, 120).Select(i => i % 100), TestFiles.Labels(data.Train));
        Assert.Equal([5, 6], TestFiles.Labels(data.Test!));
    }

    [Fact]
    public void Load_BadFiles_AreNamed()
    {
        WriteTen("d");
        _files.Write("d/data_batch_3.bin", [.. Records(0, 2, 10, coarse: false), 1]);
        var e = Assert.Throws<DistTrainException>(() => DatasetLoader.Load(new() { Name = "cifar-10", Path = _files.Path("d") }, 1));
        Assert.Contains("data_batch_3.bin: 6147 bytes are no whole number of records of 3073", e.Message, StringComparison.Ordinal);
        byte[] records = Records(0, 2, 10, coarse: false);
        records[3073] = 10;
        _files.Write("d/data_batch_3.bin", records);
        e = Assert.Throws<DistTrainException>(() => DatasetLoader.Load(new() { Name = "cifar-10", Path = _files.Path("d") }, 1));
        Assert.Contains("data_batch_3.bin: offset 3073: label 10 of record 1", e.Message, StringComparison.Ordinal);
        File.Delete(_files.Path("d/test_batch.bin"));
        _files.Write("d/data_batch_3.bin", Records(0, 2, 10, coarse: false));
        e = Assert.Throws<DistTrainException>(() => DatasetLoader.Load(new() { Name = "cifar-10", Path = _files.Path("d") }, 1));
        Assert.EndsWith("test_batch.bin: no such file", e.Message, StringComparison.Ordinal);
    }
}
