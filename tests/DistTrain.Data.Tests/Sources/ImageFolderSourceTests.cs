using System.Buffers.Binary;
using System.IO.Compression;
using DistTrain.Core;

namespace DistTrain.Data.Tests.Sources;

public sealed class ImageFolderSourceTests : IDisposable
{
    private readonly TestFiles _files = new();

    public void Dispose() => _files.Dispose();

    /// <summary>A PNG of 8 bits, grey or in colour; the pixels are (height, width, channels).</summary>
    private static byte[] Png(int channels, int height, int width, byte[] pixels)
    {
        var header = new byte[13];
        BinaryPrimitives.WriteInt32BigEndian(header, width);
        BinaryPrimitives.WriteInt32BigEndian(header.AsSpan(4), height);
        (header[8], header[9]) = (8, (byte)(channels == 3 ? 2 : 0));
        using var data = new MemoryStream();
        using (var zlib = new ZLibStream(data, CompressionLevel.Optimal, leaveOpen: true))
        {
            for (int y = 0; y < height; y++)
            {
                zlib.WriteByte(0);
                zlib.Write(pixels, y * width * channels, width * channels);
            }
        }

        return [0x89, .. "PNG\r\n"u8, 0x1A, 0x0A, .. Chunk("IHDR"u8, header), .. Chunk("IDAT"u8, data.ToArray()), .. Chunk("IEND"u8, [])];
    }

    private static byte[] Chunk(ReadOnlySpan<byte> type, byte[] content)
    {
        byte[] body = [.. type, .. content];
        var chunk = new byte[body.Length + 8];
        BinaryPrimitives.WriteInt32BigEndian(chunk, content.Length);
        body.CopyTo(chunk, 4);
        BinaryPrimitives.WriteUInt32BigEndian(chunk.AsSpan(body.Length + 4), Crc32.Append(0, body));
        return chunk;
    }

    private void Write(string path, byte[] image)
    {
        Directory.CreateDirectory(Path.GetDirectoryName(_files.Path(path))!);
        _files.Write(path, image);
    }

    private LoadedData Load(DataSource? source = null) => DatasetLoader.Load((source ?? new()) with { Name = "images", Path = _files.Directory }, 1);

    [Fact]
    public void Load_TrainAndTest_AreChannelsFirst()
    {
        byte[] pixels = [.. Enumerable.Range(0, 2 * 3 * 3).Select(i => (byte)(10 * i))];
        Write("train/dog/1.png", Png(3, 2, 3, pixels));
        Write("train/cat/x.PNG", Png(3, 2, 3, [.. pixels.Select(p => (byte)(p + 1))]));
        Write("train/cat/notes.txt", [1]);
        Write("test/dog/2.png", Png(3, 2, 3, pixels));
        LoadedData data = Load(new() { Scale = 1 });
        Assert.Equal(["cat", "dog"], data.ClassNames);
        Assert.Equal([3, 2, 3], data.Train.InputShape.ToArray());
        Assert.Equal([0, 1], TestFiles.Labels(data.Train));
        Assert.Equal([1], TestFiles.Labels(data.Test!));
        float[] expected = [.. Enumerable.Range(0, 3).SelectMany(c => Enumerable.Range(0, 6).Select(p => (float)pixels[(3 * p) + c]))];
        Assert.Equal(expected, TestFiles.Inputs(data.Test!));
        Assert.Equal([.. expected.Select(v => v + 1), .. expected], TestFiles.Inputs(data.Train));
    }

    [Fact]
    public void Load_Grey_IsSplitByChance()
    {
        for (int i = 0; i < 10; i++) Write($"{(i < 5 ? "a" : "b")}/{i}.png", Png(1, 1, 2, [(byte)i, 255]));
        LoadedData data = Load();
        Assert.Equal([1, 1, 2], data.Train.InputShape.ToArray());
        Assert.Equal((8, 2), (data.Train.Count, data.Test!.Count));
        var seen = TestFiles.Inputs(data.Train).Concat(TestFiles.Inputs(data.Test)).Chunk(2).Select(p => (int)MathF.Round(p[0] * 255)).ToList();
        Assert.Equal(Enumerable.Range(0, 10), seen.Order());
        Assert.Equal(seen.Take(8).Select(i => i < 5 ? 0 : 1), TestFiles.Labels(data.Train));
    }

    [Fact]
    public void Load_Jpeg_BaselineAndProgressive_IsWhatWasDrawn()
    {
        Write("train/a/1.jpg", Fixture("subsampled.jpg"));
        Write("train/b/2.jpeg", Fixture("progressive.jpeg"));
        Write("test/a/3.JPG", Fixture("subsampled.jpg"));
        LoadedData data = Load(new() { Scale = 1 });
        Assert.Equal([3, 16, 32], data.Train.InputShape.ToArray());
        Assert.Equal((2, 1), (data.Train.Count, data.Test!.Count));
        float[] train = TestFiles.Inputs(data.Train);
        AssertHalves([200, 30, 60], [20, 120, 220], train[..(3 * 16 * 32)]);
        AssertHalves([10, 200, 90], [250, 240, 30], train[(3 * 16 * 32)..]);
        Assert.Equal(train[..(3 * 16 * 32)], TestFiles.Inputs(data.Test!));
    }

    [Fact]
    public void Load_GreyJpeg_HasOneChannel()
    {
        for (int i = 0; i < 3; i++) Write($"a/{i}.jpg", Fixture("grey.jpg"));
        LoadedData data = Load(new() { Scale = 1 });
        Assert.Equal([1, 16, 32], data.Train.InputShape.ToArray());
        AssertHalves([40], [200], TestFiles.Inputs(data.Train)[..(16 * 32)]);
    }

    [Theory]
    [InlineData("grey.jpg", 200)] // within the tables
    [InlineData("grey.jpg", 335)] // within the scan
    [InlineData("subsampled.jpg", 640)]
    [InlineData("progressive.jpeg", 450)] // between or within scans
    [InlineData("progressive.jpeg", 536)] // without the end marker alone
    public void Load_CutOffJpeg_IsNamed(string name, int length)
    {
        Write("a/1.jpg", Fixture(name));
        Write("a/2.jpg", Fixture(name)[..length]);
        var e = Assert.Throws<DistTrainException>(() => Load());
        Assert.Equal(ExitCode.BadData, e.ExitCode);
        Assert.Contains("2.jpg: can't be decoded: a JPEG that is cut off", e.Message, StringComparison.Ordinal);
    }

    private static byte[] Fixture(string name) => File.ReadAllBytes(Path.Combine(AppContext.BaseDirectory, "Sources", "Fixtures", name));

    // Decoders blur colours at half the resolution over two columns of each side.
    private static void AssertHalves(int[] left, int[] right, float[] image)
    {
        for (int c = 0; c < left.Length; c++)
        {
            for (int p = 0; p < 16 * 32; p++)
            {
                int x = p % 32;
                if (x is < 14 or > 17) Assert.Equal(x < 16 ? left[c] : right[c], image[(c * 16 * 32) + p], 3f);
            }
        }
    }

    [Fact]
    public void Load_WhatIsWrong_IsNamed()
    {
        Write("a/1.png", Png(1, 2, 2, new byte[4]));
        Write("a/2.png", Png(1, 2, 3, new byte[6]));
        var e = Assert.Throws<DistTrainException>(() => Load());
        Assert.Contains("2.png: 3 x 2 pixels; the others have 2 x 2", e.Message, StringComparison.Ordinal);
        _files.Write("a/2.png", Png(1, 2, 2, new byte[4])[..50]);
        e = Assert.Throws<DistTrainException>(() => Load());
        Assert.Equal(ExitCode.BadData, e.ExitCode);
        Assert.Contains("2.png: can't be decoded", e.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Load_ManyPixelsInAFewBytes_AreRefusedBeforeMemoryIsTaken()
    {
        byte[] png = Png(1, 2, 2, new byte[4]);
        BinaryPrimitives.WriteInt32BigEndian(png.AsSpan(16), 16_000);
        BinaryPrimitives.WriteInt32BigEndian(png.AsSpan(20), 16_000);
        Write("a/1.png", png);
        Assert.Contains("can't hold", Assert.Throws<DistTrainException>(() => Load()).Message, StringComparison.Ordinal);
    }
}
