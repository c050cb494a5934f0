using System.Text;
using DistTrain.Data;

namespace DistTrain.Fuzz.Targets;

/// <summary>Delimited text.</summary>
internal sealed class CsvTarget : FileTarget
{
    private static readonly string[] Samples =
        ["a,b,label\n1,2,x\n3,4,y\n5,6,x\n", "1;2.5;-3\n4;5;6\n", "1 2 3\n  4  5 6 \n", "\"a\",\"b,\"\"c\"\n1,2\n3,4\n", "1\t2\t0\r\n3\t4\t1\r\n", "\uFEFF1,2,3\r4,5,6\r", "5.1,3.5,setosa\n4.9,3.0,virginica\n"];

    private static readonly string[] Words = [",", ";", "\t", " ", "\"", "\"\"", "\n", "\r", "\r\n", "1", "-1", "x", "NaN", "1e38", "1e39", "\0", "\uFEFF", "é", "1,1,1\n"];

    public override string Name => "csv";

    public override byte[] Make(FuzzRandom random)
    {
        byte[] text = Encoding.UTF8.GetBytes(random.Chance(0.9) ? TextMutator.Mutate(random, random.Pick(Samples), Words) : random.Pick(Samples));
        return Join((byte)random.Next(128), Damaged(random, text, 0.3), random.Chance(0.2) ? Encoding.UTF8.GetBytes(TextMutator.Mutate(random, random.Pick(Samples), Words)) : []);
    }

    public override bool Read(byte[] input)
    {
        (byte options, byte[] train, byte[] test) = Part(input);
        return Load(new DataSource
        {
            Name = "csv",
            Path = Write("train.csv", train),
            TestPath = test.Length > 0 ? Write("test.csv", test) : null,
            Standardize = (options & 1) != 0,
            Header = (options & 2) != 0 ? (options & 4) != 0 : null,
            Label = (options & 8) != 0 ? (options & 4) != 0 ? "0" : "label" : null,
            Targets = (options & 24) == 16 ? ["1"] : [],
            Ignore = (options & 32) != 0 ? ["-2"] : [],
            Classes = (options & 80) == 64 ? 10 : null,
        });
    }
}

/// <summary>Text for character models.</summary>
internal sealed class PlainTextTarget : FileTarget
{
    private static readonly string[] Samples = ["the quick brown fox jumps over the lazy dog", "größer – 😀 €\n", "\uFEFFabc abc abc", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"];
    private static readonly string[] Words = ["a", "é", "€", "😀", "\0", "\n", "\uFEFF", "\uD7FF"];

    public override string Name => "text";

    public override byte[] Make(FuzzRandom random) =>
        Join((byte)random.Next(256), Damaged(random, Encoding.UTF8.GetBytes(TextMutator.Mutate(random, random.Pick(Samples), Words)), 0.4), random.Chance(0.3) ? Encoding.UTF8.GetBytes(random.Pick(Samples)) : []);

    public override bool Read(byte[] input)
    {
        (byte options, byte[] train, byte[] test) = Part(input);
        return Load(new DataSource
        {
            Name = "text",
            Path = Write("train.txt", train),
            TestPath = test.Length > 0 ? Write("test.txt", test) : null,
            Context = 1 + (options & 15),
            Stride = 1 + (options >> 6),
            TestFraction = test.Length == 0 && (options & 32) != 0 ? 0 : null,
        });
    }
}

/// <summary>Tagged sentences.</summary>
internal sealed class TaggedTarget : FileTarget
{
    private const string Sample = "the\tD\ndog\tN\nbarks\tV\n\na\tD\ncat\tN\n\nsleeps\tV\n";
    private static readonly string[] Words = ["\t", "\n", "\n\n", "\r\n", "D", "dog\tN\n", "é", "😀", "\0", " ", "\uFEFF"];

    public override string Name => "tagged";

    public override byte[] Make(FuzzRandom random) =>
        Join((byte)random.Next(256), Damaged(random, Encoding.UTF8.GetBytes(TextMutator.Mutate(random, Sample, Words)), 0.2), random.Chance(0.3) ? Encoding.UTF8.GetBytes(TextMutator.Mutate(random, Sample, Words)) : []);

    public override bool Read(byte[] input)
    {
        (byte options, byte[] train, byte[] test) = Part(input);
        return Load(new DataSource
        {
            Name = "tagged",
            Path = Write("train.tsv", train),
            TestPath = test.Length > 0 ? Write("test.tsv", test) : null,
            Length = 1 + (options & 7),
            MinCount = 1 + ((options >> 3) & 1),
            Prefix = (options >> 4) & 3,
            Suffix = options >> 6,
        });
    }
}
