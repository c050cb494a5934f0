using DistTrain.Data;
using DistTrain.Jobs;
using DistTrain.Nn;
using DistTrain.Optim;

namespace DistTrain.Tests.Composition;

/// <summary>Trainings in this process whose weights are averaged: the result and its figures are the average's.</summary>
public sealed class AverageRunTests
{
    private const double Decay = 0.8;
    private const int Steps = 9;

    [Fact]
    public async Task Averages_EqualTheNaiveOnesOfTheWeightsAtEachStep()
    {
        Job job = Base() with { Training = new() { MaxSteps = Steps, Ema = Decay } };
        using TrainedModel averaged = await Trainer.TrainAsync(job);
        // The weights at version 0 are those that a rate of 0 leaves.
        using TrainedModel initial = await Trainer.TrainAsync(Base() with { Training = new() { MaxSteps = 1 }, Optimizer = new SgdSpec(0, 0) });
        string[] names = [.. averaged.TensorNames];
        Dictionary<string, float[]> average = names.ToDictionary(n => n, n => initial.Tensor(n).ToArray());
        for (int step = 1; step <= Steps; step++)
        {
            using TrainedModel now = await Trainer.TrainAsync(Base() with { Training = new() { MaxSteps = step } });
            foreach (string name in names)
            {
                bool running = name.Contains("running", StringComparison.Ordinal);
                for (int i = 0; i < average[name].Length; i++)
                {
                    float a = average[name][i], w = now.Tensor(name)[i];
                    average[name][i] = running ? w : MathF.FusedMultiplyAdd((float)(1 - Decay), w - a, a);
                }
            }
        }

        Assert.Contains(names, n => n.Contains("running", StringComparison.Ordinal));
        foreach (string name in names) Assert.Equal(average[name], averaged.Tensor(name).ToArray());
    }

    [Fact]
    public async Task Averages_OnAnyCluster_HaveTheSameBitsAndFigures()
    {
        Job job = Base() with { Training = new() { Epochs = 3, Ema = Decay } };
        using TrainedModel one = await Trainer.TrainAsync(job);
        foreach (ClusterOptions cluster in (ClusterOptions[])[new() { Workers = 2, Servers = 2 }, new() { Workers = 3, Servers = 1, BucketLength = 4096 }, new() { Workers = 3, Servers = 3 }])
        {
            using TrainedModel other = await Trainer.TrainAsync(job with { Cluster = cluster });
            Assert.Equal((one.Result.WeightsSha256, one.Result.TestLoss, one.Result.TestAccuracy), (other.Result.WeightsSha256, other.Result.TestLoss, other.Result.TestAccuracy));
        }

        using TrainedModel plain = await Trainer.TrainAsync(job with { Training = new() { Epochs = 3 } });
        Assert.NotEqual(plain.Result.WeightsSha256, one.Result.WeightsSha256);
        Assert.NotEqual(plain.Result.TestLoss, one.Result.TestLoss);
        Assert.Equal(plain.Result.TrainLoss, one.Result.TrainLoss);
    }

    // What the workers evaluated is what the model that comes out gives.
    [Fact]
    public async Task TestFigures_AreThoseOfTheAveragedModel()
    {
        using TrainedModel model = await Trainer.TrainAsync(Base() with { Training = new() { Epochs = 2, Ema = Decay }, Cluster = new() { Workers = 2, Servers = 2 } });
        int[] found = model.Classify(Features(Test, 99));
        Assert.Equal(found.Zip(Labels(Test, 99)).Count(p => p.First == p.Second) / (double)Test, model.Result.TestAccuracy!.Value, 1e-12);
    }

    private const int Test = 70;

    private static float[] Features(int rows, int seed)
    {
        var random = new Random(seed);
        return [.. Enumerable.Range(0, rows * 60).Select(_ => (random.NextSingle() * 2) - 1)];
    }

    // Three classes by which of three values is the largest.
    private static int[] Labels(int rows, int seed)
    {
        float[] x = Features(rows, seed);
        return [.. Enumerable.Range(0, rows).Select(r => Enumerable.Range(0, 3).MaxBy(c => x[(r * 60) + c]))];
    }

    private static Job Base() => new()
    {
        Model = new ModelSpec([Layers.Dense(150), Layers.BatchNorm(), Layers.Tanh(), Layers.Dense(3)]),
        Arrays = (new ArrayDataset(Features(240, 3), [60], Labels(240, 3), classes: 3), new ArrayDataset(Features(Test, 99), [60], Labels(Test, 99), classes: 3)),
        Optimizer = AdamSpec.Adam,
        Batch = new() { Size = 50, Shards = 4 },
        Cluster = new() { Workers = 1 },
    };
}
