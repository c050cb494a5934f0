using System.Text;
using DistTrain.Core;
using DistTrain.Core.Config;
using DistTrain.Jobs;

namespace DistTrain.Tests.Jobs;

public class YamlTreeTests
{
    [Theory]
    [InlineData("a: &x 1\nb: 2", "f:1: anchors (&x) are not used in job files; write the value out where it is needed")]
    [InlineData("a: 1\nb: *x", "f:2: aliases (*name) are not used in job files; write the value out")]
    [InlineData("a: !!str 1", "f:1: tags (tag:yaml.org,2002:str) are not used in job files")]
    [InlineData("a: 1\n---\nb: 2", "f:2: a second document begins here; a job is one document")]
    [InlineData("a:\n  b: 1\n  b: 2", "f:3: the key 'b' stands here a second time; first at f:2")]
    [InlineData("? [1, 2]\n: 3", "f:1: a key must be a plain word")]
    public void Parse_WhatJobsDoNotUse_IsRefusedWithItsLine(string text, string expected) => Assert.Equal(expected, Refusal(text));

    [Theory]
    [InlineData("a: [1, 2", "f:")]
    [InlineData("a: 1\n b: 2\n", "f:2: not valid YAML: ")]
    [InlineData("a: \"x\nb: 2", "f:")]
    [InlineData("a: 1\n\tb: 2", "f:1: not valid YAML: ")]
    [InlineData("a: b: c", "f:1: not valid YAML: ")]
    [InlineData("}", "f:1: not valid YAML: ")]
    [InlineData("%", "f:1: not valid YAML: ")]
    public void Parse_BrokenYaml_NamesItsLine(string text, string expected)
    {
        string refusal = Refusal(text);
        Assert.StartsWith(expected, refusal, StringComparison.Ordinal);
        Assert.DoesNotContain('\n', refusal);
    }

    [Fact]
    public void Parse_DeepNesting_IsRefused()
    {
        Assert.Equal("f:1: nested deeper than 32 levels", Refusal("a: " + new string('[', 100_000)));
        Assert.Equal("f:1: nested deeper than 32 levels", Refusal(string.Concat(Enumerable.Repeat("{a: ", 100_000))));
        Assert.StartsWith("f:", Refusal(string.Concat(Enumerable.Repeat("- ", 100_000)) + "1"), StringComparison.Ordinal);
    }

    [Fact]
    public void Parse_AnyBytes_GivesATreeOrOneError()
    {
        var random = new Random(1);
        string alphabet = "ab:-[]{}&*!|>'\"%@`#,? \n\t0~\\";
        for (int i = 0; i < 3000; i++)
        {
            var text = new StringBuilder();
            for (int j = random.Next(40); j > 0; j--) text.Append(alphabet[random.Next(alphabet.Length)]);
            try
            {
                YamlTree.Parse(text.ToString(), line => $"f:{line}");
            }
            catch (DistTrainException e)
            {
                Assert.StartsWith("f:", e.Message, StringComparison.Ordinal);
            }
        }
    }

    [Fact]
    public void Parse_NullsAndTexts_AreToldApart()
    {
        YamlTree tree = YamlTree.Parse("a:\nb: ~\nc: null\nd: 'null'\ne: ''", _ => "f");
        Assert.Equal([ConfigKind.Null, ConfigKind.Null, ConfigKind.Null, ConfigKind.Scalar, ConfigKind.Scalar], tree.Entries.Select(e => e.Value.Kind));
    }

    [Theory]
    [InlineData("plain")]
    [InlineData("null")]
    [InlineData("~")]
    [InlineData("")]
    [InlineData(" edges ")]
    [InlineData("- x")]
    [InlineData("a: b")]
    [InlineData("#no comment")]
    [InlineData("tab\tand\nnewline")]
    [InlineData("\"quoted\" \\ 'both'")]
    [InlineData("ünïcode 猫")]
    [InlineData("-1.5e-3")]
    [InlineData("~/data")]
    [InlineData("---")]
    [InlineData("...")]
    [InlineData("@at")]
    public void Write_AnyText_ReadsBackTheSame(string text)
    {
        YamlTree tree = JobTree.Map(("k", JobTree.Text(text)), (text.Length == 0 ? "e" : text, JobTree.List([JobTree.Text(text)!, JobTree.Map(("x", JobTree.Text(text)), ("y", JobTree.Text("1")))])));
        string yaml = YamlWriter.Write(tree);
        YamlTree back = YamlTree.Parse(yaml, line => $"{yaml}:{line}");
        Assert.Equal(text, back.Find("k")!.Text);
        Assert.Equal(yaml, YamlWriter.Write(back));
    }

    private static string Refusal(string text)
    {
        DistTrainException e = Assert.Throws<DistTrainException>(() => YamlTree.Parse(text, line => $"f:{line}"));
        Assert.Equal(ExitCode.BadUsage, e.ExitCode);
        return e.Message;
    }

    /// <summary>Each node's dotted path as a text of its own came to gigabytes.</summary>
    [Fact]
    public void ToConfig_LongKeyAboveManyItems_TakesMemoryByItsSize()
    {
        string text = $"? '{new string('k', 100_000)}'\n: [{string.Join(", ", Enumerable.Repeat("a", 20_000))}]\n";
        long before = GC.GetAllocatedBytesForCurrentThread();
        ConfigNode node = JobReader.ParseConfig(text, "job.yaml");
        Assert.InRange(GC.GetAllocatedBytesForCurrentThread() - before, 0, 200 << 20);
        Assert.EndsWith("kk[19999]", node.Entries[0].Value.Items[^1].Path, StringComparison.Ordinal);
    }
}
