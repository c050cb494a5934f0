using System.Text;
using DistTrain.Core;

namespace DistTrain.Data.Tests.Formats;

public class CsvReaderTests
{
    [Theory]
    [InlineData("1,2\n3,4\n", ',', "1|2 @1;3|4 @2")]
    [InlineData("1,2\r\n3,4", ',', "1|2 @1;3|4 @2")]
    [InlineData("1,2\r3,4\r", ',', "1|2 @1;3|4 @2")]
    [InlineData("\n\r\n1,2\n\n\n3,4\n\n", ',', "1|2 @3;3|4 @6")]
    [InlineData("a,,c,\n,\n", ',', "a||c| @1;| @2")]
    [InlineData("\"a,b\",\"say \"\"hi\"\"\",\"\"\n", ',', "a,b|say \"hi\"| @1")]
    [InlineData("\"two\nlines\",1\nx,2\n", ',', "two\nlines|1 @1;x|2 @3")]
    [InlineData("\"two\r\nlines\",1\r\nx,2", ',', "two\r\nlines|1 @1;x|2 @3")]
    [InlineData("a\"b,c\n", ',', "a\"b|c @1")]
    [InlineData("1;2,5\n", ';', "1|2,5 @1")]
    [InlineData("a b\t c\td\n", '\t', "a b| c|d @1")]
    [InlineData("  1   2\t3  \n4 5 6", ' ', "1|2|3 @1;4|5|6 @2")]
    [InlineData("1 2 \r\n  \r\n 3 4", ' ', "1|2 @1;3|4 @3")]
    [InlineData("\uFEFFx,y\n", ',', "x|y @1")]
    [InlineData("é,字,😀\n", ',', "é|字|😀 @1")]
    [InlineData("", ',', "")]
    [InlineData("\n\n", ',', "")]
    public void Read_AllKindsOfText_GivesRecordsAndTheirLines(string text, char delimiter, string expected) =>
        Assert.Equal(expected, Records(Encoding.UTF8.GetBytes(text), delimiter));

    [Fact]
    public void Read_CharactersAndLineEndsAcrossPieces_AreNotTorn()
    {
        // Any offset of the multi-byte characters and the CR LF relative to the reader's pieces of 32,768 bytes.
        for (int shift = 32_760; shift <= 32_770; shift++)
        {
            string text = new string('x', shift) + ",字\r\n\"y\"\"\",😀\r\n";
            Assert.Equal(new string('x', shift) + "|字 @1;y\"|😀 @2", Records(Encoding.UTF8.GetBytes(text), ','));
        }
    }

    [Theory]
    [InlineData("1,2\n3,\"4", "text:2: field 2 opens a quote that is never closed")]
    [InlineData("\"1\"x,2\n", "text:1: field 1 has text after its closing quote; a quote within a quoted field is written twice")]
    public void Read_WrongQuotes_NamesTheLine(string text, string message)
    {
        var e = Assert.Throws<DistTrainException>(() => Records(Encoding.UTF8.GetBytes(text), ','));
        Assert.Equal((ExitCode.BadData, message), (e.ExitCode, e.Message));
    }

    [Fact]
    public void Read_EndlessLine_IsRefused()
    {
        byte[] zeros = TestFiles.Gzip(new byte[CsvReader.MaximumRecord + 10]);
        var e = Assert.Throws<DistTrainException>(() => Records(zeros, ','));
        Assert.Contains("text:1: a record of more than 16777216 characters", e.Message, StringComparison.Ordinal);
    }

    private static string Records(byte[] bytes, char delimiter)
    {
        using DataFile file = DataFile.Open("text", new MemoryStream(bytes));
        var reader = new CsvReader(file, delimiter);
        var records = new List<string>();
        while (reader.Read())
        {
            records.Add(string.Join('|', Enumerable.Range(0, reader.FieldCount).Select(i => reader.Field(i).ToString())) + $" @{reader.Line}");
        }

        return string.Join(';', records);
    }
}
