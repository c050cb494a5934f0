using DistTrain.Core;

namespace DistTrain.Data.Tests.Formats;

public sealed class IdxTests : IDisposable
{
    private static readonly byte[] Images = TestFiles.Idx([3, 2, 2], [0, 51, 102, 255, 1, 2, 3, 4, 5, 6, 7, 8]);
    private static readonly byte[] Labels = TestFiles.Idx([3], [2, 0, 1]);
    private readonly TestFiles _files = new();

    private string ImagesPath => _files.Path("train-images-idx3-ubyte");

    private string LabelsPath => _files.Path("train-labels-idx1-ubyte");

    public void Dispose() => _files.Dispose();

    [Theory]
    [InlineData("train-images-idx3-ubyte", "train-labels-idx1-ubyte", false)]
    [InlineData("train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz", true)]
    [InlineData("train-images.idx3-ubyte", "train-labels.idx1-ubyte", false)]
    [InlineData("train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte", true)]
    public void Load_UsualNames_AreFound(string images, string labels, bool gzip)
    {
        _files.Write(images, gzip ? TestFiles.Gzip(Images) : Images);
        _files.Write(labels, Labels);
        _files.Write(images.Replace("train", "t10k", StringComparison.Ordinal), TestFiles.Idx([1, 2, 2], [255, 0, 0, 0]));
        _files.Write(labels.Replace("train", "t10k", StringComparison.Ordinal), TestFiles.Idx([1], [1]));
        LoadedData data = Load();
        Assert.Equal([1, 2, 2], data.Train.InputShape.ToArray());
        Assert.Equal(TargetSpec.Classes(3), data.Train.Target);
        Assert.Equal([2, 0, 1], TestFiles.Labels(data.Train));
        Assert.Equal(Images[16..].Select(b => b * (1f / 255)), TestFiles.Inputs(data.Train));
        Assert.Equal(1f, TestFiles.Inputs(data.Test!)[0]);
    }

    [Fact]
    public void Load_PlainOrGzip_HaveTheSameDataHash()
    {
        Write(Images, Labels);
        string plain = Load().DataHash;
        Write(TestFiles.Gzip(Images), TestFiles.Gzip(Labels));
        Assert.Equal(plain, Load().DataHash);
        byte[] other = (byte[])Images.Clone();
        other[^1]++;
        Write(other, Labels);
        Assert.NotEqual(plain, Load().DataHash);
    }

    [Fact]
    public void Load_NoTestFiles_HoldsSomeOut()
    {
        Write(Images, Labels);
        LoadedData data = Load(new DataSource { Name = "idx", TestFraction = 0.34 });
        Assert.Equal((2, 1), (data.Train.Count, data.Test!.Count));
        Assert.Null(Load(new DataSource { Name = "idx", TestFraction = 0 }).Test);
    }

    [Fact]
    public void Load_FileOfImages_FindsItsLabelsByNameOrPath()
    {
        string images = _files.Write("my-images-idx3.bin", Images);
        _files.Write("my-labels-idx1.bin", Labels);
        Assert.Equal(2, DatasetLoader.Load(new DataSource { Path = images }, 1).Train.Count);
        string odd = _files.Write("odd", Images);
        var e = Assert.Throws<DistTrainException>(() => DatasetLoader.Load(new DataSource { Name = "idx", Path = odd }, 1));
        Assert.Equal(ExitCode.BadUsage, e.ExitCode);
        Assert.Contains("data.labels_path", e.Message, StringComparison.Ordinal);
        string labels = _files.Write("oddlabels", Labels);
        Assert.Equal(2, DatasetLoader.Load(new DataSource { Name = "idx", Path = odd, LabelsPath = labels }, 1).Train.Count);
    }

    [Fact]
    public void Load_Standardized_HasMeanZeroAndDeviationOneOverTrainingPixels()
    {
        Write(Images, Labels);
        float[] x = TestFiles.Inputs(Load(new DataSource { Name = "idx", Standardize = true, TestFraction = 0 }).Train);
        Assert.Equal(0, x.Average(), 1e-6);
        Assert.Equal(1, Math.Sqrt(x.Average(v => (double)v * v)), 1e-6);
    }

    [Fact]
    public void GatherInputs_AnyLength_VectorsAndTailAgree()
    {
        for (int features = 1; features <= 70; features++)
        {
            byte[] pixels = [.. Enumerable.Range(0, 2 * features).Select(i => (byte)(i * 37))];
            Write(TestFiles.Idx([2, features], pixels), TestFiles.Idx([2], [0, 1]));
            DataSource source = new() { Name = "idx", TestPath = null, TestFraction = 0, Scale = 0.3 };
            IDataset dataset = Load(source).Train;
            Assert.Equal([features], dataset.InputShape.ToArray());
            float[] x = TestFiles.Inputs(dataset);
            bool inOrder = TestFiles.Labels(dataset)[0] == 0;
            byte[] expected = inOrder ? pixels : [.. pixels[features..], .. pixels[..features]];
            Assert.Equal(expected.Select(b => b * (float)0.3), x);
        }
    }

    [Fact]
    public void Read_CutOffAtEveryOffset_NamesFileAndOffset()
    {
        foreach (bool gzip in (bool[])[false, true])
        {
            for (int length = 0; length < Images.Length; length++)
            {
                byte[] cut = Images[..length];
                Write(gzip ? TestFiles.Gzip(cut) : cut, Labels);
                var e = Assert.Throws<DistTrainException>(() => Load());
                Assert.Equal(ExitCode.BadData, e.ExitCode);
                Assert.StartsWith(ImagesPath + ": ", e.Message, StringComparison.Ordinal);
            }
        }
    }

    [Theory]
    [InlineData(0, 0x50, "offset 0: expected the IDX magic number 00 00 08 and a number of dimensions, got 50 00 08 03; no IDX file")]
    [InlineData(2, 0x0D, "offset 2: IDX type 0x0d; only unsigned bytes (0x08) are read")]
    [InlineData(3, 1, "offset 3: 1 dimensions; expected 2 to 4 (a file of images)")]
    [InlineData(3, 9, "offset 3: 9 dimensions; expected 2 to 4 (a file of images)")]
    [InlineData(7, 0, "offset 4: dimension 1 is 0; expected 1 to 2147483647")]
    [InlineData(7, 2, "offset 24: bytes after the end of what its header claims 2 x 2 x 2")]
    [InlineData(7, 4, "its header claims 4 x 2 x 2 = 16 bytes after offset 16; the file has 28")]
    [InlineData(4, 0x7F, "its header claims 2130706435 x 2 x 2 = 8522825740 bytes after offset 16; the file has 28")]
    public void Read_WrongHeader_SaysOffsetExpectedAndGot(int offset, byte value, string message)
    {
        byte[] wrong = (byte[])Images.Clone();
        wrong[offset] = value;
        Write(wrong, Labels);
        Assert.Equal($"{ImagesPath}: {message}", Assert.Throws<DistTrainException>(() => Load()).Message);
    }

    [Fact]
    public void Read_HeaderThatClaimsGigabytes_TakesNoMemory()
    {
        byte[] claims = TestFiles.Idx([0x7FFFFFFF, 1, 1], new byte[1000]);
        foreach (byte[] file in (byte[][])[claims, TestFiles.Gzip(claims)])
        {
            Write(file, Labels);
            long before = GC.GetAllocatedBytesForCurrentThread();
            Assert.Throws<DistTrainException>(() => Load());
            Assert.InRange(GC.GetAllocatedBytesForCurrentThread() - before, 0, 4 << 20);
        }
    }

    [Fact]
    public void Read_GzipBomb_TakesNoMoreThanItsHeaderClaims()
    {
        // 64 MiB of zeros behind a header that claims 12 bytes.
        Write(TestFiles.Gzip(TestFiles.Idx([3, 2, 2], new byte[64 << 20])), Labels);
        long before = GC.GetAllocatedBytesForCurrentThread();
        var e = Assert.Throws<DistTrainException>(() => Load());
        Assert.EndsWith("offset 28: bytes after the end of what its header claims 3 x 2 x 2", e.Message, StringComparison.Ordinal);
        Assert.InRange(GC.GetAllocatedBytesForCurrentThread() - before, 0, 4 << 20);
    }

    [Fact]
    public void Read_GzipLargerThanOnePiece_IsWhole()
    {
        byte[] pixels = new byte[3 << 20];
        new Random(1).NextBytes(pixels);
        using DataFile file = DataFile.Open("images", new MemoryStream(TestFiles.Gzip(TestFiles.Idx([3, 1 << 20], pixels))));
        Assert.True(pixels.AsSpan().SequenceEqual(IdxFile.Read(file, 2, 4).Elements.Slice(0, pixels.Length)));
    }

    [Fact]
    public void Load_LabelsThatDoNotFit_NamesThem()
    {
        Write(Images, TestFiles.Idx([2], [0, 1]));
        Assert.Equal($"{LabelsPath}: offset 4: 2 labels; {ImagesPath} has 3 images", Assert.Throws<DistTrainException>(() => Load()).Message);
        Write(Images, TestFiles.Idx([3], [0, 10, 1]));
        Assert.Equal($"{LabelsPath}: offset 9: label 10 of example 1; with 10 classes, labels go from 0 to 9", Assert.Throws<DistTrainException>(() => Load(new DataSource { Name = "mnist" })).Message);
    }

    [Fact]
    public void Load_MissingFiles_SaysWhichAndWhereToGetThem()
    {
        var e = Assert.Throws<DistTrainException>(() => Load(new DataSource { Name = "fashion-mnist" }));
        Assert.StartsWith(ImagesPath + ": no such file (nor with .gz) (on Debian", e.Message, StringComparison.Ordinal);
        _files.Write("train-images-idx3-ubyte.gz", Images);
        e = Assert.Throws<DistTrainException>(() => Load());
        Assert.Equal($"{LabelsPath}: no such file (nor with .gz), beside train-images-idx3-ubyte.gz", e.Message);
        e = Assert.Throws<DistTrainException>(() => DatasetLoader.Load(new DataSource { Name = "fashion-mnist", Path = _files.Path("nowhere") }, 1));
        Assert.Contains("nowhere: no such directory; expected train-images-idx3-ubyte[.gz]", e.Message, StringComparison.Ordinal);
        Assert.Contains("apt-get install dataset-fashion-mnist", e.Message, StringComparison.Ordinal);
        Assert.Equal(ExitCode.BadUsage, Assert.Throws<DistTrainException>(() => DatasetLoader.Load(new DataSource { Name = "mnist" }, 1)).ExitCode);
    }

    [Fact]
    public void Load_SeededMutations_OnlyEverRefusesTheData()
    {
        var random = new Random(20);
        for (int round = 0; round < 1000; round++)
        {
            byte[] images = Mutate(Images, random);
            byte[] labels = Mutate(Labels, random);
            try
            {
                using DataFile imageFile = DataFile.Open("images", new MemoryStream(images));
                using DataFile labelFile = DataFile.Open("labels", new MemoryStream(labels));
                TestFiles.Inputs(ImageDataset.Join(IdxFile.Read(imageFile, 2, 4), IdxFile.Read(labelFile, 1, 1), null, 1));
            }
            catch (DistTrainException e)
            {
                Assert.Equal(ExitCode.BadData, e.ExitCode);
            }
        }
    }

    private static byte[] Mutate(byte[] original, Random random)
    {
        List<byte> bytes = [.. original];
        for (int n = random.Next(3); n > 0 && bytes.Count > 0; n--)
        {
            int at = random.Next(Math.Min(bytes.Count, 20));
            switch (random.Next(4))
            {
                case 0: bytes[at] = (byte)random.Next(256); break;
                case 1: bytes.RemoveRange(at, random.Next(bytes.Count - at)); break;
                case 2: bytes.Insert(at, (byte)random.Next(4)); break;
                default: bytes.AddRange([.. bytes.Take(at)]); break;
            }
        }

        byte[] result = [.. bytes];
        return random.Next(3) == 0 ? TestFiles.Gzip(result) : result;
    }

    private void Write(byte[] images, byte[] labels)
    {
        _files.Write("train-images-idx3-ubyte", images);
        _files.Write("train-labels-idx1-ubyte", labels);
    }

    private LoadedData Load(DataSource? source = null) =>
        DatasetLoader.Load((source ?? new DataSource { Name = "idx" }) with { Path = _files.Directory }, seed: 1);

    [Fact]
    public void Load_LargeUncompressed_IsMappedAndHasTheSameHash()
    {
        int count = (int)(ByteStore.MappedFrom / (64 * 64)) + 1;
        byte[] pixels = new byte[count * 64 * 64];
        for (int i = 0; i < pixels.Length; i += 997) pixels[i] = (byte)i;
        byte[] images = TestFiles.Idx([count, 64, 64], pixels);
        string plain = _files.Write("images-idx3", images), packed = _files.Write("packed-images-idx3", TestFiles.Gzip(images));
        string labels = _files.Write("labels", TestFiles.Idx([count], [.. Enumerable.Range(0, count).Select(i => (byte)(i % 3))]));
        using (DataFile file = DataFile.Open(plain)) Assert.True(IdxFile.Read(file, 2, 4).Elements.IsMapped);
        var source = new DataSource { Name = "idx", LabelsPath = labels };
        LoadedData mapped = DatasetLoader.Load(source with { Path = plain }, 1), memory = DatasetLoader.Load(source with { Path = packed }, 1);
        Assert.Equal(memory.DataHash, mapped.DataHash);
        float[] a = new float[2 * 4096], b = new float[2 * 4096];
        long last = mapped.Train.Count - 1;
        mapped.Train.GatherInputs([last, 0], a);
        memory.Train.GatherInputs([last, 0], b);
        Assert.Equal(a, b);
        Assert.Contains(a, v => v != 0);
    }
}
