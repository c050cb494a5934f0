using DistTrain.Data;
using DistTrain.Jobs;
using DistTrain.Kernels;
using DistTrain.Nn;
using DistTrain.Optim;

namespace DistTrain.Tests.Composition;

/// <summary>Compression over whole trainings in this process.</summary>
public class WireRunTests
{
    [Theory]
    [InlineData(GradientWire.BFloat16, FloatFormat.Float32)]
    [InlineData(GradientWire.Float16, FloatFormat.BFloat16)]
    [InlineData(GradientWire.Int8, FloatFormat.Float32)]
    [InlineData(GradientWire.Int8, FloatFormat.BFloat16)]
    public async Task Train_OnAnyCluster_GivesTheSameBitsAndLearns(GradientWire gradients, FloatFormat weights)
    {
        Job job = Base() with { Wire = new() { Gradients = gradients, Weights = weights } };
        using TrainedModel one = await Trainer.TrainAsync(job);
        Assert.True(one.Result.TrainLoss < 0.5, $"the loss is {one.Result.TrainLoss}");
        foreach (ClusterOptions cluster in (ClusterOptions[])[new() { Workers = 2, Servers = 2, BucketLength = 4096 }, new() { Workers = 3, Servers = 3 }])
        {
            using TrainedModel other = await Trainer.TrainAsync(job with { Cluster = cluster });
            Assert.Equal(one.Result.WeightsSha256, other.Result.WeightsSha256);
        }

        using TrainedModel micro = await Trainer.TrainAsync(job with { Batch = job.Batch with { MicroSize = 16 } });
        Assert.Equal(one.Result.WeightsSha256, micro.Result.WeightsSha256);
        using TrainedModel exact = await Trainer.TrainAsync(Base());
        Assert.NotEqual(exact.Result.WeightsSha256, one.Result.WeightsSha256);
    }

    // Running statistics of very different sizes stand in one block: they travel as they are.
    [Theory]
    [InlineData(GradientWire.Int8)]
    [InlineData(GradientWire.TopK)]
    public async Task Buffers_TravelAsTheyAre(GradientWire gradients)
    {
        Job job = Base() with
        {
            Model = new ModelSpec([Layers.BatchNorm(), Layers.Dense(3)]),
            Training = new() { MaxSteps = 3 },
            Optimizer = new SgdSpec(0, 0),
        };
        using TrainedModel exact = await Trainer.TrainAsync(job);
        using TrainedModel packed = await Trainer.TrainAsync(job with { Wire = new() { Gradients = gradients }, Cluster = new() { Workers = 2 } });
        foreach (string name in exact.TensorNames.Where(n => n.Contains("running", StringComparison.Ordinal)))
        {
            Assert.Equal(exact.Tensor(name).ToArray(), packed.Tensor(name).ToArray());
        }

        Assert.Contains(exact.TensorNames, n => n.Contains("running", StringComparison.Ordinal));
    }

    // Of 150 · 60 weights four in a thousand travel at each step; without feedback most would never.
    [Fact]
    public async Task TopK_WithFeedback_MovesEveryWeight()
    {
        Job job = Base() with { Wire = new() { Gradients = GradientWire.TopK, Fraction = 0.004 }, Optimizer = new SgdSpec(0.3, 0), Training = new() { Epochs = 60 } };
        using TrainedModel start = await Trainer.TrainAsync(job with { Training = new() { MaxSteps = 1 }, Optimizer = new SgdSpec(0, 0) });
        using TrainedModel end = await Trainer.TrainAsync(job with { Cluster = new() { Workers = 2 } });
        Assert.True(end.Result.TrainLoss < 0.4, $"the loss is {end.Result.TrainLoss}");
        int still = 0;
        for (int i = 0; i < start.Tensor("0.weight").Length; i++) still += start.Tensor("0.weight")[i] == end.Tensor("0.weight")[i] ? 1 : 0;
        Assert.True(still < 90, $"{still} of 9,000 weights never moved");
    }

    [Fact]
    public async Task TopK_OfWorkersThatStay_GivesTheSameBitsAgain_AndOthersGiveOthers()
    {
        Job job = Base() with { Wire = new() { Gradients = GradientWire.TopK, Fraction = 0.05 }, Cluster = new() { Workers = 2 } };
        using TrainedModel one = await Trainer.TrainAsync(job);
        using TrainedModel again = await Trainer.TrainAsync(job with { Cluster = new() { Workers = 2, Servers = 2, BucketLength = 4096 } });
        using TrainedModel other = await Trainer.TrainAsync(job with { Cluster = new() { Workers = 3 } });
        Assert.Equal(one.Result.WeightsSha256, again.Result.WeightsSha256);
        Assert.NotEqual(one.Result.WeightsSha256, other.Result.WeightsSha256);
    }

    // Three classes by where the largest of three sums lies. The first tensor has two blocks and a part of one.
    private static Job Base()
    {
        var random = new Random(3);
        float[] x = [.. Enumerable.Range(0, 240 * 60).Select(_ => (random.NextSingle() * 2) - 1)];
        int[] labels = [.. Enumerable.Range(0, 240).Select(r => Enumerable.Range(0, 3).MaxBy(c => x[(r * 60) + c]))];
        return new Job
        {
            Model = new ModelSpec([Layers.Dense(150), Layers.Tanh(), Layers.Dense(20), Layers.Relu(), Layers.Dense(3)]),
            Arrays = (new ArrayDataset(x, [60], labels, classes: 3), null),
            Optimizer = AdamSpec.Adam,
            Batch = new() { Size = 50, Shards = 4 },
            Training = new() { Epochs = 12 },
            Cluster = new() { Workers = 1 },
        };
    }
}
