using DistTrain.Core;

namespace DistTrain.Data.Tests.Sampling;

public class TrainTestSplitTests
{
    [Theory]
    [InlineData(1797, 0.2, 359)]
    [InlineData(10, 0.5, 5)]
    [InlineData(2, 0.01, 1)]
    [InlineData(2, 0.99, 1)]
    [InlineData(7, 0, 0)]
    public void Split_AnyCount_PartsAreDisjointAndComplete(int count, double fraction, int test)
    {
        var split = new TrainTestSplit(count, seed: 1, fraction);
        Assert.Equal(test, split.TestCount);
        Assert.Equal(count - test, split.TrainCount);
        var all = new HashSet<long>();
        for (int i = 0; i < split.TestCount; i++)
        {
            Assert.True(split.IsTest(split.TestExample(i)));
            Assert.True(all.Add(split.TestExample(i)));
        }

        for (int i = 0; i < split.TrainCount; i++)
        {
            Assert.False(split.IsTest(split.TrainExample(i)));
            Assert.True(all.Add(split.TrainExample(i)));
        }

        Assert.Equal(count, all.Count);
    }

    [Fact]
    public void Parts_Gathered_AreViewsOfTheSource()
    {
        const int Count = 1000;
        ArrayDataset source = Numbered(Count);
        var split = new TrainTestSplit(Count, seed: 3);
        foreach ((IDataset part, bool test) in ((IDataset, bool)[])[(split.Train(source), false), (split.Test(source), true)])
        {
            long[] examples = [.. Enumerable.Range(0, (int)part.Count).Select(i => (long)i)];
            float[] inputs = new float[part.Count * 2];
            int[] labels = new int[part.Count];
            part.GatherInputs(examples, inputs);
            part.GatherLabels(examples, labels);
            for (int i = 0; i < part.Count; i++)
            {
                long original = test ? split.TestExample(i) : split.TrainExample(i);
                Assert.Equal(original, labels[i]);
                Assert.Equal([original, -original], inputs[(i * 2)..(i * 2 + 2)]);
            }

            Assert.Throws<ArgumentOutOfRangeException>(() => part.GatherInputs([part.Count], new float[2]));
            Assert.Throws<ArgumentOutOfRangeException>(() => part.GatherLabels([-1], new int[1]));
        }
    }

    [Fact]
    public void Parts_RealTargets_AreViewsToo()
    {
        var source = new ArrayDataset(new float[] { 1, 2, 3, 4 }, [1], new float[] { 10, 11, 20, 21, 30, 31, 40, 41 }, 2);
        IDataset train = new TrainTestSplit(4, seed: 1, 0.25).Train(source);
        float[] x = new float[3];
        float[] targets = new float[6];
        train.GatherInputs([0, 1, 2], x);
        train.GatherTargets([0, 1, 2], targets);
        Assert.Equal(x.SelectMany(v => new[] { v * 10, v * 10 + 1 }), targets);
        Assert.Throws<InvalidOperationException>(() => train.GatherLabels([0], new int[1]));
    }

    [Fact]
    public void ContentHash_OfParts_TellsPartsAndSeedsApart()
    {
        ArrayDataset source = Numbered(10);
        string[] hashes =
        [
            new TrainTestSplit(10, 1).Train(source).ContentHash,
            new TrainTestSplit(10, 1).Test(source).ContentHash,
            new TrainTestSplit(10, 2).Train(source).ContentHash,
            new TrainTestSplit(10, 1, 0.3).Train(source).ContentHash,
            source.ContentHash,
        ];
        Assert.Equal(hashes.Length, hashes.Distinct().Count());
        Assert.Equal(hashes[0], new TrainTestSplit(10, 1).Train(Numbered(10)).ContentHash);
    }

    [Theory]
    [InlineData(1, 0.2, ExitCode.BadData)]
    [InlineData(0, 0.0, ExitCode.BadData)]
    [InlineData(10, 1.0, ExitCode.BadUsage)]
    [InlineData(10, -0.1, ExitCode.BadUsage)]
    [InlineData(10, double.NaN, ExitCode.BadUsage)]
    public void Split_Impossible_SaysWhy(int count, double fraction, ExitCode exitCode) =>
        Assert.Equal(exitCode, Assert.Throws<DistTrainException>(() => new TrainTestSplit(count, 1, fraction)).ExitCode);

    private static ArrayDataset Numbered(int count) => new(
        Enumerable.Range(0, count).SelectMany(i => new float[] { i, -i }).ToArray(),
        [2],
        Enumerable.Range(0, count).ToArray(),
        count);
}
