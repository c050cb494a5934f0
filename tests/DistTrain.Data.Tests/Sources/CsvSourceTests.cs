using DistTrain.Core;

namespace DistTrain.Data.Tests.Sources;

public sealed class CsvSourceTests : IDisposable
{
    private readonly TestFiles _files = new();

    public void Dispose() => _files.Dispose();

    [Fact]
    public void Load_HeaderAndWordLabel_SortsClassesOrdinally()
    {
        LoadedData data = Load("length,kind,width\n1,zebra,2\n3,Ant,4\n5,ant,6\n", new() { Label = "kind", TestFraction = 0 });
        Assert.Equal(["Ant", "ant", "zebra"], data.ClassNames);
        Assert.Equal([2], data.Train.InputShape.ToArray());
        // Without a test part the training part still is a permutation of the file's rows.
        Assert.Equal([1, 2, 3, 4, 5, 6], TestFiles.Inputs(data.Train).Order());
        float[] x = TestFiles.Inputs(data.Train);
        int[] labels = TestFiles.Labels(data.Train);
        for (int i = 0; i < 3; i++) Assert.Equal(x[2 * i] switch { 1 => 2, 3 => 0, _ => 1 }, labels[i]);
    }

    [Theory]
    [InlineData("a,b\n1,0\n2,1\n", true)]
    [InlineData("1,0\n2,1\n", false)]
    [InlineData("1,yes\n2,no\n", false)]
    [InlineData("1,0\nx,1\n", false)]
    public void Load_HeaderNotSaid_IsFoundOut(string text, bool header)
    {
        if (text.Contains("x,1", StringComparison.Ordinal))
        {
            Assert.EndsWith("x.csv:2: column 1 is 'x'; expected a number", Fails(text, new()).Message, StringComparison.Ordinal);
            return;
        }

        Assert.Equal(2, Load(text, new() { TestFraction = 0 }).Train.Count);
        Assert.Equal(header ? 2 : 1, Load(text, new() { TestFraction = 0, Header = true, Label = "-1" }).Train.Count);
    }

    [Theory]
    [InlineData("1,2,3\n4,5,6\n", null)]
    [InlineData("1;2;3\n4;5;6\n", null)]
    [InlineData("1\t2\t3\n4\t5\t6\n", null)]
    [InlineData("1 2  3\n4 5 6\n", null)]
    [InlineData("1;2;3\n4;5;6\n", "semicolon")]
    [InlineData("1 2 3\n4 5 6\n", "space")]
    [InlineData("1\t2\t3\n4\t5\t6\n", "\\t")]
    public void Load_AnyDelimiter_ReadsTheSameNumbers(string text, string? delimiter)
    {
        LoadedData data = Load(text, new() { Delimiter = delimiter, TestFraction = 0 });
        Assert.Equal([1, 2, 4, 5], TestFiles.Inputs(data.Train).Order());
        Assert.Equal(["3", "6"], data.ClassNames);
    }

    [Fact]
    public void Load_IntegerLabels_AreInNumericOrder()
    {
        LoadedData data = Load("1,10\n2,9\n3,-1\n4,010\n", new() { TestFraction = 0 });
        Assert.Equal(["-1", "9", "10"], data.ClassNames);
        var pairs = TestFiles.Inputs(data.Train).Zip(TestFiles.Labels(data.Train)).OrderBy(p => p.First).Select(p => p.Second);
        Assert.Equal([2, 1, 0, 2], pairs);
    }

    [Fact]
    public void Load_ClassesGiven_LabelsAreTheirOwnClass()
    {
        LoadedData data = Load("1,3\n2,1\n", new() { Classes = 5, TestFraction = 0 });
        Assert.Equal(TargetSpec.Classes(5), data.Train.Target);
        Assert.Equal([1, 3], TestFiles.Labels(data.Train).Order());
        var e = Fails("x,y\n1,3\n2,5\n", new() { Classes = 5 });
        Assert.EndsWith("x.csv:3: column 2 ('y') is '5'; with data.classes 5, labels go from 0 to 4", e.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Load_RealTargets_InTheOrderNamed()
    {
        LoadedData data = Load("a,b,c,id\n1,2,3,x\n4,5,6,y\n", new() { Targets = ["c", "0"], Ignore = ["id"], TestFraction = 0 });
        Assert.Equal(TargetSpec.Real(2), data.Train.Target);
        Assert.Empty(data.ClassNames);
        var rows = TestFiles.Inputs(data.Train).Zip(TestFiles.Targets(data.Train).Chunk(2)).OrderBy(r => r.First).ToArray();
        Assert.Equal((2f, 5f), (rows[0].First, rows[1].First));
        Assert.Equal([3, 1], rows[0].Second);
        Assert.Equal([6, 4], rows[1].Second);
    }

    [Fact]
    public void Load_Standardized_UsesTheTrainingPartOnly()
    {
        string text = string.Concat(Enumerable.Range(0, 50).Select(i => $"{1e9 + i},{7},{i % 2}\n"));
        LoadedData data = Load(text, new() { Standardize = true, TestFraction = 0.2 });
        float[] x = TestFiles.Inputs(data.Train);
        double[] first = [.. x.Where((_, i) => i % 2 == 0).Select(v => (double)v)];
        Assert.Equal(0, first.Average(), 1e-6);
        Assert.Equal(1, Math.Sqrt(first.Average(v => v * v)), 1e-6);
        // A constant column is shifted to zero and not scaled, in the test part as well.
        Assert.All(x.Where((_, i) => i % 2 == 1), v => Assert.Equal(0, v));
        // The test part is measured with the training part's yardstick.
        double[] test = [.. TestFiles.Inputs(data.Test!).Where((_, i) => i % 2 == 0).Select(v => (double)v)];
        Assert.NotEqual(0, test.Average(), 1e-4);
        // Neighbouring values are 1/std apart: what single precision would have lost at 1e9 is kept.
        double[] all = [.. first.Concat(test).Order()];
        for (int i = 1; i < 50; i++) Assert.Equal(all[1] - all[0], all[i] - all[i - 1], 1e-5);
    }

    [Fact]
    public void Load_TestFile_HasTheTrainingFilesClassesAndYardstick()
    {
        string test = _files.Write("test.csv", "x,y\n5,b\n");
        LoadedData data = Load("x,y\n1,a\n3,b\n", new() { TestPath = test, Standardize = true });
        Assert.Equal((2, 1), (data.Train.Count, data.Test!.Count));
        Assert.Equal([3f], TestFiles.Inputs(data.Test));
        Assert.Equal([1], TestFiles.Labels(data.Test));
        _files.Write("test.csv", "x,y\n5,b\n6,c\n");
        Assert.EndsWith("test.csv:3: column 2 ('y') is 'c', a label that " + _files.Path("x.csv") + " doesn't have", Fails("x,y\n1,a\n3,b\n", new() { TestPath = test }).Message, StringComparison.Ordinal);
        _files.Write("test.csv", "z,y\n5,b\n");
        Assert.EndsWith("test.csv: column 1 ('z') is 'x' in " + _files.Path("x.csv") + "; both files need the same columns", Fails("x,y\n1,a\n3,b\n", new() { TestPath = test }).Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("a,b\n1,2\n3\n", "x.csv:3: 1 fields; the first row has 2")]
    [InlineData("a,b\n1,2\n3,4,5\n", "x.csv:3: 3 fields; the first row has 2")]
    [InlineData("a,b\n1,2\n\"\n\",3\n", "x.csv:3: column 1 ('a') is empty; expected a number")]
    [InlineData("a,b\n1,2\nabc,3\n", "x.csv:3: column 1 ('a') is 'abc'; expected a number")]
    [InlineData("a,b\n1,2\nNaN,3\n", "x.csv:3: column 1 ('a') is 'NaN'; expected a number")]
    [InlineData("a,b\n1,2\n-Infinity,3\n", "x.csv:3: column 1 ('a') is '-Infinity'; expected a number")]
    [InlineData("a,b\n1,2\n1e39,3\n", "x.csv:3: column 1 ('a') is '1e39'; expected a number that a 32-bit float can hold")]
    [InlineData("a,b\n1,2\n1e999,3\n", "x.csv:3: column 1 ('a') is '1e999'; expected a number")]
    [InlineData("a,b\n1,2\n1,\n", "x.csv:3: column 2 ('b') is empty; expected a label")]
    [InlineData("", "x.csv: is empty; expected rows of numbers")]
    [InlineData("a,b\n", "x.csv: has a header and no rows")]
    [InlineData("1\n2\n", "x.csv: none of its 1 columns is left as a feature; is the delimiter right?")]
    public void Load_WrongText_NamesFileLineAndColumn(string text, string message)
    {
        DistTrainException e = Fails(text, new());
        Assert.Equal(ExitCode.BadData, e.ExitCode);
        Assert.EndsWith(message, e.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Load_WrongKeys_NameTheKey()
    {
        const string Text = "length,width,kind\n1,2,3\n4,5,6\n";
        Assert.EndsWith("data.label is 'kidn', and no column is called so; did you mean 'kind'?", Fails(Text, new() { Label = "kidn" }).Message, StringComparison.Ordinal);
        Assert.EndsWith("data.label is 3, and the file has 3 columns: 0 to 2, or -1 for the last", Fails(Text, new() { Label = "3" }).Message, StringComparison.Ordinal);
        Assert.EndsWith("data.label is 'x', and the file has no header to find it in; give an index from 0", Fails("1,2\n", new() { Label = "x", Header = false }).Message, StringComparison.Ordinal);
        Assert.EndsWith("column 3 ('kind') is named twice among data.label, data.targets and data.ignore", Fails(Text, new() { Label = "2", Ignore = ["kind"] }).Message, StringComparison.Ordinal);
        Assert.Equal("data.delimiter is 'coma'; did you mean 'comma'?", Fails(Text, new() { Delimiter = "coma" }).Message);
        Assert.Equal("data.label and data.targets are both given; a csv source has one or the other", Fails(Text, new() { Label = "0", Targets = ["1"] }).Message);
        Assert.Contains("two columns are called so", Fails("a,a,b\n1,2,3\n", new() { Label = "a" }).Message, StringComparison.Ordinal);
        Assert.Equal("data.scale is 0; expected a number other than 0", Fails(Text, new() { Scale = 0 }).Message);
    }

    [Fact]
    public void Load_SeededMutations_OnlyEverRefusesTheData()
    {
        const string Text = "a,\"b\"\"c\",kind\n1,2.5e3,x\r\n-4,\"5\",\"y,\nz\"\n6,7,x\n";
        const string Alphabet = "\",;\n\r\t 0159.-eExa\0\uFFFD字";
        var random = new Random(8);
        for (int round = 0; round < 500; round++)
        {
            var text = new System.Text.StringBuilder(Text);
            for (int n = random.Next(1, 5); n > 0; n--)
            {
                int at = random.Next(text.Length);
                if (random.Next(3) == 0) text.Remove(at, random.Next(Math.Min(6, text.Length - at)));
                else text.Insert(at, Alphabet[random.Next(Alphabet.Length)]);
            }

            try
            {
                TestFiles.Inputs(Load(text.ToString(), new() { Standardize = true }).Train);
            }
            catch (DistTrainException e)
            {
                Assert.Equal(ExitCode.BadData, e.ExitCode);
            }
        }
    }

    private LoadedData Load(string text, DataSource source) => DatasetLoader.Load(source with { Path = _files.Write("x.csv", text) }, seed: 1);

    private DistTrainException Fails(string text, DataSource source) => Assert.Throws<DistTrainException>(() => Load(text, source));
}
