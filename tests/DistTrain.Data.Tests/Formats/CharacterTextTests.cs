using System.Text;
using DistTrain.Core;

namespace DistTrain.Data.Tests.Formats;

public sealed class CharacterTextTests : IDisposable
{
    // One piece of the scan and some.
    private const int Long = (1 << 20) + 5000;

    private readonly TestFiles _files = new();

    public void Dispose() => _files.Dispose();

    // Characters of one to four bytes, in no regular order.
    private static int[] Mixed(int count)
    {
        int[] some = ['a', 'z', 0xE9, 0x20AC, 0xFFFD, 0x1F600, 0xFEFF];
        var random = new Random(3);
        return [.. Enumerable.Range(0, count).Select(i => some[i == 0 ? 0 : random.Next(some.Length)])];
    }

    private static byte[] Utf8(int[] characters) => Encoding.UTF8.GetBytes(string.Concat(characters.Select(char.ConvertFromUtf32)));

    private static int[] Read(CharacterText text, long start, int length)
    {
        int[] characters = new int[length];
        text.Read(start, characters);
        return characters;
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void Read_AnyPlace_IsTheSameMappedAndInMemory(bool mapped)
    {
        int[] characters = Mixed(Long / 3);
        string path = _files.Write("t.txt", Utf8(characters));
        CharacterText text = CharacterText.Read(path, mapped ? 1 : long.MaxValue);
        Assert.Equal(mapped, text.IsMapped);
        Assert.Equal(characters.Length, text.Length);
        Assert.Equal(characters.Distinct().Order(), text.Alphabet);
        Assert.Equal(characters, Read(text, 0, characters.Length));
        foreach (int start in new[] { 0, 1, 255, 256, 257, 5000, characters.Length - 300 }) Assert.Equal(characters[start..(start + 300)], Read(text, start, 300));
        Assert.Equal(characters[^1..], Read(text, characters.Length - 1, 1));
        Assert.Empty(Read(text, characters.Length, 0));
        Assert.Throws<ArgumentOutOfRangeException>(() => Read(text, characters.Length - 1, 2));
        Assert.Throws<ArgumentOutOfRangeException>(() => Read(text, -1, 2));
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void Read_SingleBytesAfterAByteOrderMark_AreThemselves(bool mapped)
    {
        byte[] bytes = [0xEF, 0xBB, 0xBF, .. Enumerable.Range(0, Long).Select(i => (byte)('a' + (i % 26)))];
        CharacterText text = CharacterText.Read(_files.Write("t.txt", bytes), mapped ? 1 : long.MaxValue);
        Assert.Equal(Long, text.Length);
        Assert.Equal(Enumerable.Range('a', 26), text.Alphabet);
        Assert.Equal(Enumerable.Range(1_000_000, 100).Select(i => 'a' + (i % 26)), Read(text, 1_000_000, 100));
    }

    [Fact]
    public void Read_Gzip_IsTheSameText()
    {
        byte[] bytes = Utf8(Mixed(Long));
        CharacterText plain = CharacterText.Read(_files.Write("t.txt", bytes)), packed = CharacterText.Read(_files.Write("t.gz", TestFiles.Gzip(bytes)));
        Assert.False(packed.IsMapped);
        Assert.Equal((plain.Hash, plain.Length), (packed.Hash, packed.Length));
        Assert.Equal(Convert.ToHexStringLower(System.Security.Cryptography.SHA256.HashData(bytes)), plain.Hash);
        Assert.Equal(Read(plain, Long - 1000, 1000), Read(packed, Long - 1000, 1000));
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void Read_CutOffCharacter_NamesItsOffset(bool mapped)
    {
        byte[] bytes = [.. Utf8(Mixed(Long)), 0xE2, 0x82];
        string path = _files.Write("t.txt", bytes);
        var e = Assert.Throws<DistTrainException>(() => CharacterText.Read(path, mapped ? 1 : long.MaxValue));
        Assert.Equal($"{path}: offset {bytes.Length - 2}: byte 0xe2 begins no UTF-8 character; a text has to be in UTF-8", e.Message);
    }

    [Fact]
    public void Read_NothingAtAll_IsEmpty()
    {
        CharacterText text = CharacterText.Read(_files.Write("t.txt", ""));
        Assert.Equal(0, text.Length);
        Assert.Empty(text.Alphabet);
    }
}
