using System.Buffers.Binary;
using System.Security.Cryptography;
using System.Text;
using DistTrain.Core;
using DistTrain.Training.Checkpoints;

namespace DistTrain.Training.Tests.Checkpoints;

public sealed class SafetensorsTests : IDisposable
{
    private readonly string _directory = Directory.CreateTempSubdirectory("disttrain-safetensors-").FullName;

    public void Dispose() => Directory.Delete(_directory, recursive: true);

    [Fact]
    public void Write_TwoTensors_IsByteForByteThePublishedFormat()
    {
        string path = NewPath();
        using var writer = new SafetensorsWriter(path, [new("0.weight", [2, 3]), new("0.bias", [2])], new Dictionary<string, string> { ["format"] = "pt" });
        writer.Write(1, 0, [7, -8]);
        writer.Write(0, 0, [1, 2, 3, 4, 5, float.NaN]);
        FileDigest digest = writer.Finish();

        const string Header = """{"__metadata__":{"format":"pt"},"0.weight":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},"0.bias":{"dtype":"F32","shape":[2],"data_offsets":[24,32]}}""";
        var expected = new List<byte>();
        int headerLength = (8 + Header.Length + 63) / 64 * 64 - 8;
        expected.AddRange(BitConverter.GetBytes((long)headerLength));
        expected.AddRange(Encoding.ASCII.GetBytes(Header.PadRight(headerLength)));
        foreach (float v in (float[])[1, 2, 3, 4, 5, float.NaN, 7, -8]) expected.AddRange(BitConverter.GetBytes(BitConverter.SingleToInt32Bits(v)));
        byte[] actual = File.ReadAllBytes(path);
        Assert.Equal(expected, actual);
        Assert.Equal(new FileDigest(actual.Length, Convert.ToHexStringLower(SHA256.HashData(actual))), digest);
        Assert.Equal(actual.Length, writer.FileLength);
    }

    [Fact]
    public void Write_InPiecesFromManyThreads_ReadsBackTheSame()
    {
        string path = NewPath();
        TensorSpec[] tensors = [new("a", [100, 7]), new("empty", [0, 5]), new("scalar", []), new("b", [1000])];
        float[][] values = [.. tensors.Select(t => Enumerable.Range(0, (int)t.Length).Select(i => i * 0.5f + t.Name.Length).ToArray())];
        using (var writer = new SafetensorsWriter(path, tensors))
        {
            var pieces = new List<(int Tensor, int First, int Length)>();
            for (int t = 0; t < tensors.Length; t++)
            {
                for (int i = 0; i < values[t].Length; i += 13) pieces.Add((t, i, Math.Min(13, values[t].Length - i)));
            }

            new Random(3).Shuffle(System.Runtime.InteropServices.CollectionsMarshal.AsSpan(pieces));
            Parallel.ForEach(pieces, p => writer.Write(p.Tensor, p.First, values[p.Tensor].AsSpan(p.First, p.Length)));
            writer.Finish();
        }

        using SafetensorsReader reader = SafetensorsReader.Open(path);
        Assert.Equal(["a", "empty", "scalar", "b"], reader.Tensors.Select(t => t.Name));
        for (int t = 0; t < tensors.Length; t++)
        {
            float[] whole = new float[values[t].Length];
            reader.Read(tensors[t].Name, 0, whole);
            Assert.Equal(values[t], whole);
        }

        float[] part = new float[3];
        reader.Read("b", 500, part);
        Assert.Equal(values[3][500..503], part);
        Assert.Throws<ArgumentOutOfRangeException>(() => reader.Read("b", 998, part));
        Assert.Throws<ArgumentOutOfRangeException>(() => reader.Read("b", -1, part));
    }

    [Fact]
    public void Finish_ElementsNeverWritten_NamesTheFirst()
    {
        using var writer = new SafetensorsWriter(NewPath(), [new("a", [4]), new("b", [10])]);
        writer.Write(0, 0, [1, 2, 3, 4]);
        writer.Write(1, 0, [1, 2, 3]);
        writer.Write(1, 5, [1, 2, 3, 4, 5]);
        var e = Assert.Throws<DistTrainException>(() => writer.Finish());
        Assert.Equal(ExitCode.Internal, e.ExitCode);
        Assert.EndsWith("elements from 3 of tensor 'b' were never written", e.Message, StringComparison.Ordinal);
        writer.Write(1, 2, [3, 4, 5]);
        writer.Finish();
    }

    [Fact]
    public void Constructor_WrongNamesOrExistingFile_Throws()
    {
        string path = NewPath();
        Assert.Throws<ArgumentException>(() => new SafetensorsWriter(path, [new("a", [1]), new("a", [1])]));
        Assert.Throws<ArgumentException>(() => new SafetensorsWriter(path, [new("__metadata__", [1])]));
        File.WriteAllText(path, "");
        Assert.Throws<IOException>(() => new SafetensorsWriter(path, [new("a", [1])]));
        using var writer = new SafetensorsWriter(NewPath(), [new("a", [2])]);
        Assert.Throws<ArgumentOutOfRangeException>(() => writer.Write(0, 1, [1, 2]));
        Assert.Throws<ArgumentOutOfRangeException>(() => writer.Write(0, -1, [1]));
    }

    [Fact]
    public void Names_WithAnyCharacters_SurviveAndTheDataStaysAligned()
    {
        for (int length = 1; length < 70; length++)
        {
            string path = NewPath();
            string name = "字\"\\\n😀" + new string('n', length);
            using (var writer = new SafetensorsWriter(path, [new(name, [1])], new Dictionary<string, string> { ["k\"ey"] = "v\u0001" }))
            {
                writer.Write(0, 0, [length]);
                writer.Finish();
            }

            byte[] bytes = File.ReadAllBytes(path);
            Assert.Equal(0, (8 + BinaryPrimitives.ReadInt64LittleEndian(bytes)) % 64);
            using SafetensorsReader reader = SafetensorsReader.Open(path);
            float[] value = new float[1];
            reader.Read(name, 0, value);
            Assert.Equal(length, value[0]);
            Assert.Equal("v\u0001", reader.Metadata["k\"ey"]);
        }
    }

    [Fact]
    public void Open_FileOfTheReferenceImplementation_IsRead()
    {
        // The example in the documentation of the format's own crate.
        string path = Write("""{"test":{"dtype":"I32","shape":[2,2],"data_offsets":[0,16]}}""", [.. Enumerable.Range(1, 16).Select(i => (byte)i)]);
        using SafetensorsReader reader = SafetensorsReader.Open(path);
        SafetensorsTensor tensor = Assert.Single(reader.Tensors);
        Assert.Equal(("test", "I32", 16L), (tensor.Name, tensor.Type, tensor.ByteLength));
        byte[] raw = new byte[4];
        reader.ReadBytes("test", 12, raw);
        Assert.Equal([13, 14, 15, 16], raw);
        Assert.Throws<ArgumentOutOfRangeException>(() => reader.ReadBytes("test", 13, raw));
        Assert.EndsWith("tensor 'test' is I32; fp32 (F32) is needed", Assert.Throws<DistTrainException>(() => reader.Read("test", 0, new float[1])).Message, StringComparison.Ordinal);
        Assert.EndsWith("has no tensor 'tset'", Assert.Throws<DistTrainException>(() => reader.Read("tset", 0, new float[1])).Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("{}", 0)]
    [InlineData("{}      ", 0)]
    [InlineData("""{"b":{"dtype":"BF16","shape":[2],"data_offsets":[4,8]},"a":{"shape":[],"data_offsets":[0,4],"dtype":"F32"}}""", 8)]
    [InlineData("""{"a":{"dtype":"F64","shape":[9223372036854775807,0],"data_offsets":[0,0]}}""", 0)]
    [InlineData("""{"a":{"dtype":"F4","shape":[2,3],"data_offsets":[0,3]}}""", 3)]
    [InlineData("""{"__metadata__":{},"a":{"dtype":"BOOL","shape":[1],"data_offsets":[0,1]}}""", 1)]
    public void Open_UnusualButRight_IsRead(string header, int data)
    {
        using SafetensorsReader reader = SafetensorsReader.Open(Write(header, new byte[data]));
        Assert.Equal(reader.FileLength, new FileInfo(reader.Path).Length);
        Assert.Equal(Convert.ToHexStringLower(SHA256.HashData(File.ReadAllBytes(reader.Path))), reader.Digest().Sha256);
    }

    [Theory]
    [InlineData("", 0)]
    [InlineData("[]", 0)]
    [InlineData("{", 0)]
    [InlineData("{}{}", 0)]
    [InlineData("{}", 4)]
    [InlineData("""{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}""", 3)]
    [InlineData("""{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}""", 5)]
    [InlineData("""{"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}""", 8)]
    [InlineData("""{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,8]}}""", 8)]
    [InlineData("""{"a":{"dtype":"F32","shape":[1],"data_offsets":[4,0]}}""", 4)]
    [InlineData("""{"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}}""", 4)]
    [InlineData("""{"a":{"dtype":"F32","shape":[1],"data_offsets":[-4,0]}}""", 4)]
    [InlineData("""{"a":{"dtype":"F32","shape":[1.0],"data_offsets":[0,4]}}""", 4)]
    [InlineData("""{"a":{"dtype":"F32","shape":[99999999999999999999],"data_offsets":[0,4]}}""", 4)]
    [InlineData("""{"a":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,0]}}""", 0)]
    [InlineData("""{"a":{"dtype":"F32","shape":[9223372036854775807,9223372036854775807,4],"data_offsets":[0,4]}}""", 4)]
    [InlineData("""{"a":{"dtype":"F99","shape":[1],"data_offsets":[0,4]}}""", 4)]
    [InlineData("""{"a":{"dtype":"F4","shape":[3],"data_offsets":[0,1]}}""", 1)]
    [InlineData("""{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4,8]}}""", 4)]
    [InlineData("""{"a":{"dtype":"F32","shape":[1]}}""", 4)]
    [InlineData("""{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4],"more":1}}""", 4)]
    [InlineData("""{"a":{"dtype":"F32","dtype":"F32","shape":[1],"data_offsets":[0,4]}}""", 4)]
    [InlineData("""{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"a":{"dtype":"F32","shape":[0],"data_offsets":[4,4]}}""", 4)]
    [InlineData("""{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"b":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}""", 4)]
    [InlineData("""{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"b":{"dtype":"F32","shape":[1],"data_offsets":[8,12]}}""", 12)]
    [InlineData("""{"__metadata__":{"a":1}}""", 0)]
    [InlineData("""{"__metadata__":{"a":"1","a":"2"}}""", 0)]
    [InlineData("""{"\ud800":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}""", 4)]
    [InlineData("""{"a":[[[[[[[[[[[[[1]]]]]]]]]]]]]}""", 4)]
    public void Open_WrongHeader_IsRefusedByTheFilesName(string header, int data)
    {
        string path = Write(header, new byte[data]);
        var e = Assert.Throws<DistTrainException>(() => SafetensorsReader.Open(path));
        Assert.Equal(ExitCode.BadData, e.ExitCode);
        Assert.StartsWith(path + ": ", e.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(0, "7 bytes are too few for a safetensors file", 7)]
    [InlineData(100, "its first 8 bytes claim a header of 100 bytes; the file has 20", 20)]
    [InlineData(100_000_001, "its first 8 bytes claim a header of 100000001 bytes; at most 100000000 are allowed", 20)]
    [InlineData(-1, "its first 8 bytes claim a header of 18446744073709551615 bytes; at most 100000000 are allowed", 20)]
    public void Open_WrongHeaderLength_IsRefusedBeforeMemoryIsTaken(long headerLength, string message, int length)
    {
        string path = NewPath();
        byte[] bytes = new byte[20];
        BinaryPrimitives.WriteInt64LittleEndian(bytes, headerLength);
        File.WriteAllBytes(path, bytes[..length]);
        long before = GC.GetAllocatedBytesForCurrentThread();
        Assert.Equal($"{path}: {message}", Assert.Throws<DistTrainException>(() => SafetensorsReader.Open(path)).Message);
        Assert.InRange(GC.GetAllocatedBytesForCurrentThread() - before, 0, 1 << 20);
    }

    [Fact]
    public void Open_MissingFile_SaysSo() =>
        Assert.EndsWith("no.safetensors: no such file", Assert.Throws<DistTrainException>(() => SafetensorsReader.Open(Path.Combine(_directory, "no.safetensors"))).Message, StringComparison.Ordinal);

    private string NewPath() => Path.Combine(_directory, Guid.NewGuid().ToString("N"));

    private string Write(string header, byte[] data)
    {
        string path = NewPath();
        byte[] text = Encoding.UTF8.GetBytes(header);
        File.WriteAllBytes(path, [.. BitConverter.GetBytes((long)text.Length), .. text, .. data]);
        return path;
    }
}
