using System.Text;
using DistTrain.Core;

namespace DistTrain.Data.Tests.Formats;

public class DataFileTests
{
    private static readonly byte[] Content = MakeContent();

    [Theory]
    [InlineData("123456789", 0xCBF43926)]
    [InlineData("", 0)]
    [InlineData("The quick brown fox jumps over the lazy dog", 0x414FA339)]
    public void Crc32_KnownTexts_HaveTheirChecksums(string text, uint expected) =>
        Assert.Equal(expected, Crc32.Append(0, Encoding.ASCII.GetBytes(text)));

    [Fact]
    public void Crc32_InPieces_IsThatOfTheWhole()
    {
        for (int cut = 0; cut <= 40; cut++)
        {
            Assert.Equal(Crc32.Append(0, Content), Crc32.Append(Crc32.Append(0, Content.AsSpan(0, cut)), Content.AsSpan(cut)));
        }
    }

    [Fact]
    public void Read_GzipUnderAnyName_IsGunzipped()
    {
        using var files = new TestFiles();
        Assert.Equal(Content, ReadAll(files.Write("plain", TestFiles.Gzip(Content))));
        Assert.Equal(Content, ReadAll(files.Write("packed.gz", Content)));
        Assert.Empty(ReadAll(files.Write("empty", [])));
    }

    [Fact]
    public void Read_GzipCutOffAnywhere_IsAnError()
    {
        byte[] packed = TestFiles.Gzip(Content);
        for (int length = 2; length < packed.Length; length++)
        {
            var e = Assert.Throws<DistTrainException>(() => ReadAll(packed[..length]));
            Assert.Equal(ExitCode.BadData, e.ExitCode);
            Assert.StartsWith("memory: ", e.Message, StringComparison.Ordinal);
        }
    }

    [Fact]
    public void Read_GzipWithAnyByteChanged_NeverGivesWrongContent()
    {
        byte[] packed = TestFiles.Gzip(Content);
        for (int i = 2; i < packed.Length; i++)
        {
            byte[] changed = (byte[])packed.Clone();
            changed[i] ^= 0x10;
            try
            {
                Assert.Equal(Content, ReadAll(changed));
                // Time stamp, extra flags and operating system of the header don't count.
                Assert.InRange(i, 3, 9);
            }
            catch (DistTrainException e)
            {
                Assert.Equal(ExitCode.BadData, e.ExitCode);
            }
        }
    }

    [Fact]
    public void Open_MissingFileOrDirectory_SaysWhich()
    {
        using var files = new TestFiles();
        Assert.Equal($"{files.Path("no")}: no such file", Assert.Throws<DistTrainException>(() => DataFile.Open(files.Path("no"))).Message);
        Assert.Equal($"{files.Path("no/no")}: no such file", Assert.Throws<DistTrainException>(() => DataFile.Open(files.Path("no/no"))).Message);
        Assert.Equal($"{files.Directory}: is a directory, not a file", Assert.Throws<DistTrainException>(() => DataFile.Open(files.Directory)).Message);
    }

    private static byte[] ReadAll(string path)
    {
        using DataFile file = DataFile.Open(path);
        return ReadAll(file);
    }

    private static byte[] ReadAll(byte[] bytes)
    {
        using DataFile file = DataFile.Open("memory", new MemoryStream(bytes));
        return ReadAll(file);
    }

    private static byte[] ReadAll(DataFile file)
    {
        byte[] read = new byte[1 << 20];
        return read[..file.Read(read)];
    }

    private static byte[] MakeContent()
    {
        var random = new Random(5);
        byte[] bytes = new byte[700];
        for (int i = 0; i < bytes.Length; i++) bytes[i] = (byte)random.Next(20);
        return bytes;
    }
}
