using DistTrain.Core;

namespace DistTrain.Data.Tests;

public unsafe class ArrayDatasetTests
{
    [Fact]
    public void Gather_Classes_WritesRowsAndLabelsIntoNativeBuffers()
    {
        float[] mine = [1, 2, 3, 4, 5, 6];
        var dataset = new ArrayDataset(mine, [2], new[] { 0, 2, 1 }, classes: 3);
        Assert.Equal((3, 2, TargetSpec.Classes(3)), (dataset.Count, dataset.FeatureCount, dataset.Target));
        mine[4] = 50; // the user's own memory, not a copy
        float* inputs = stackalloc float[6];
        int* labels = stackalloc int[3];
        dataset.Gather([2, 0, 2], inputs, labels, null);
        Assert.Equal([50, 6, 1, 2, 50, 6], new Span<float>(inputs, 6).ToArray());
        Assert.Equal([1, 0, 1], new Span<int>(labels, 3).ToArray());
        dataset.Gather([1], inputs, null, null);
        Assert.Equal(3, inputs[0]);
    }

    [Fact]
    public void Gather_RealTargets_WritesThem()
    {
        var dataset = new ArrayDataset(new float[] { 1, 2 }, [1], new float[] { 10, 11, 20, 21 }, targetWidth: 2);
        float* inputs = stackalloc float[1];
        float* targets = stackalloc float[2];
        dataset.Gather([1], inputs, null, targets);
        Assert.Equal((2f, 20f, 21f), (inputs[0], targets[0], targets[1]));
        Assert.Throws<InvalidOperationException>(() => dataset.GatherLabels([0], new int[1]));
    }

    [Fact]
    public void Gather_WrongIndexOrDestination_Throws()
    {
        var dataset = new ArrayDataset(new float[] { 1, 2 }, [1], new[] { 0, 0 }, 1);
        Assert.Throws<ArgumentOutOfRangeException>(() => dataset.GatherInputs([2], new float[1]));
        Assert.Throws<ArgumentOutOfRangeException>(() => dataset.GatherInputs([1L << 32], new float[1]));
        Assert.Throws<ArgumentOutOfRangeException>(() => dataset.GatherLabels([-1], new int[1]));
        Assert.Throws<ArgumentException>(() => dataset.GatherInputs([0], new float[2]));
        Assert.Throws<ArgumentException>(() => dataset.GatherLabels([0], new int[2]));
        Assert.Throws<InvalidOperationException>(() => dataset.GatherTargets([0], new float[1]));
    }

    [Fact]
    public void Gather_FromManyThreads_AllocatesNothingAndAgrees()
    {
        var dataset = new ArrayDataset(Enumerable.Range(0, 4000).Select(i => (float)i).ToArray(), [4], new int[1000], 1);
        long[] examples = [.. Enumerable.Range(0, 100).Select(i => (long)(i * 7 % 1000))];
        Parallel.For(0, 4, _ =>
        {
            float[] x = new float[400];
            dataset.GatherInputs(examples, x);
            long before = GC.GetAllocatedBytesForCurrentThread();
            dataset.GatherInputs(examples, x);
            Assert.Equal(0, GC.GetAllocatedBytesForCurrentThread() - before);
            for (int i = 0; i < 400; i++) Assert.Equal(examples[i / 4] * 4 + i % 4, x[i]);
        });
    }

    [Fact]
    public void Constructor_LabelOutOfRange_NamesTheExample()
    {
        var e = Assert.Throws<DistTrainException>(() => new ArrayDataset(new float[3], [1], new[] { 0, 1, 2 }, classes: 2));
        Assert.Equal(ExitCode.BadData, e.ExitCode);
        Assert.Equal("example 2 has label 2; with 2 classes, labels go from 0 to 1", e.Message);
    }

    [Fact]
    public void Constructor_LengthsThatDoNotMatch_SaysSo()
    {
        Assert.Contains("5 input values for 3 targets", Assert.Throws<DistTrainException>(() => new ArrayDataset(new float[5], [2], new int[3], 1)).Message, StringComparison.Ordinal);
        Assert.Throws<DistTrainException>(() => new ArrayDataset(new float[4], [2], new float[3], 2));
        Assert.Throws<DistTrainException>(() => new ArrayDataset(new float[4], [0], new int[3], 1));
        Assert.Throws<DistTrainException>(() => new ArrayDataset(new float[4], [1 << 20, 1 << 20], new int[3], 1));
    }

    [Fact]
    public void ContentHash_AnyChange_ChangesIt()
    {
        ArrayDataset Make(float x = 1, int label = 0, int classes = 2, params int[] shape) =>
            new(new[] { x, 2 }, shape.Length == 0 ? [2] : shape, new[] { label }, classes);
        string[] hashes =
        [
            Make().ContentHash, Make(x: 3).ContentHash, Make(label: 1).ContentHash, Make(classes: 3).ContentHash, Make(shape: [1, 2]).ContentHash,
        ];
        Assert.Equal(5, hashes.Distinct().Count());
        Assert.Equal(hashes[0], Make().ContentHash);
        Assert.Matches("^[0-9a-f]{64}$", hashes[0]);
    }

    [Fact]
    public void Constructor_SeveralLabelsAnExample_GathersRowsOfThem()
    {
        var dataset = new ArrayDataset(new float[] { 1, 2, 3, 4 }, [2], new[] { 0, 1, 2, -1 }, classes: 3, labelsAnExample: 2);
        Assert.Equal((2, TargetSpec.Classes(3, 2)), (dataset.Count, dataset.Target));
        Assert.Equal("3 classes at each of 2 positions", dataset.Target.ToString());
        int[] labels = new int[4];
        dataset.GatherLabels([1, 0], labels);
        Assert.Equal([2, -1, 0, 1], labels);
        Assert.Throws<ArgumentException>(() => dataset.GatherLabels([1, 0], new int[2]));
        IDataset part = new TrainTestSplit(2, 1, 0.5).Test(dataset);
        part.GatherLabels([0], labels.AsSpan(0, 2));
        Assert.True(labels[0] + labels[1] == 1);
        Assert.Throws<DistTrainException>(() => new ArrayDataset(new float[] { 1, 2 }, [2], new[] { 0, 3 }, 3, 2));
        Assert.Throws<DistTrainException>(() => new ArrayDataset(new float[] { 1, 2 }, [2], new[] { 0, 2, 1 }, 3, 2));
        Assert.Throws<DistTrainException>(() => new ArrayDataset(new float[] { 1, 2 }, [2], new[] { -1 }, 3));
    }
}
