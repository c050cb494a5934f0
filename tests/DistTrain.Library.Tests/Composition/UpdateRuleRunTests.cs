using DistTrain.Core;
using DistTrain.Data;
using DistTrain.Jobs;
using DistTrain.Nn;
using DistTrain.Optim;

namespace DistTrain.Tests.Composition;

/// <summary>Update rules over whole trainings in this process: the same bits on any cluster.</summary>
public class UpdateRuleRunTests
{
    public static TheoryData<string> Rules() => new(Jobs.Keys);

    private static readonly Dictionary<string, Func<Job, Job>> Jobs = new()
    {
        ["lars"] = job => job with { Optimizer = new LarsSpec(2, WeightDecay: 1e-3, TrustCoefficient: 0.01) },
        ["lamb"] = job => job with { Optimizer = new LambSpec(0.01) { DecaysBiases = false } },
        ["lamb with groups"] = job => job with { Optimizer = new LambSpec(0.01) { Groups = new([new("2", Frozen: true), new("*.bias", 3, 0)]) } },
        ["groups and l1"] = job => job with
        {
            Optimizer = AdamSpec.AdamW with { Groups = new([new("*.bias", 0.5, 0), new("2", Frozen: true)]) },
            Training = job.Training with { L1 = 1e-3, ClipNorm = 0.5 },
        },
    };

    [Theory]
    [MemberData(nameof(Rules))]
    public async Task Train_OnAnyCluster_GivesTheSameBitsAndLearns(string rule)
    {
        Job job = Jobs[rule](Base());
        using TrainedModel one = await Trainer.TrainAsync(job);
        using TrainedModel many = await Trainer.TrainAsync(job with { Cluster = new() { Workers = 3, Servers = 3 } });
        using TrainedModel buckets = await Trainer.TrainAsync(job with { Cluster = new() { Workers = 2, Servers = 2, BucketLength = 4096 } });

        Assert.Equal(one.Result.WeightsSha256, many.Result.WeightsSha256);
        Assert.Equal(one.Result.WeightsSha256, buckets.Result.WeightsSha256);
        Assert.True(one.Result.TrainLoss < 1, $"the loss is {one.Result.TrainLoss}");
    }

    [Fact]
    public async Task Frozen_AndScaledRates_DoWhatTheySay()
    {
        Job job = Base() with { Training = new() { MaxSteps = 1 } };
        using TrainedModel all = await Trainer.TrainAsync(job with { Optimizer = new SgdSpec(0.1, 0) });
        using TrainedModel groups = await Trainer.TrainAsync(job with { Optimizer = new SgdSpec(0.1, 0) { Groups = new([new("0", Frozen: true), new("2", 0.5)]) } });
        using TrainedModel none = await Trainer.TrainAsync(job with { Optimizer = new SgdSpec(0, 0) });

        Assert.Equal(none.Tensor("0.weight").ToArray(), groups.Tensor("0.weight").ToArray());
        Assert.NotEqual(none.Tensor("0.weight").ToArray(), all.Tensor("0.weight").ToArray());
        Assert.Equal(all.Tensor("4.weight").ToArray(), groups.Tensor("4.weight").ToArray());
        for (int i = 0; i < none.Tensor("2.weight").Length; i++)
        {
            float start = none.Tensor("2.weight")[i];
            Assert.Equal((all.Tensor("2.weight")[i] - start) / 2, groups.Tensor("2.weight")[i] - start, 1e-6);
        }
    }

    [Fact]
    public async Task L1_MovesWeightsTowardsZeroByTheRate_WhateverTheClip()
    {
        Job job = Base() with { Training = new() { MaxSteps = 1, ClipNorm = 1e-6 }, Optimizer = new SgdSpec(0.1, 0) { DecaysBiases = false } };
        using TrainedModel without = await Trainer.TrainAsync(job);
        using TrainedModel with = await Trainer.TrainAsync(job with { Training = job.Training with { L1 = 0.05 } });

        ReadOnlySpan<float> before = without.Tensor("0.weight"), after = with.Tensor("0.weight");
        for (int i = 0; i < before.Length; i++) Assert.Equal(before[i] - (0.1 * 0.05 * Math.Sign(before[i])), after[i], 1e-6);
        Assert.Equal(without.Tensor("0.bias").ToArray(), with.Tensor("0.bias").ToArray());
    }

    [Fact]
    public async Task MicroSize_OnAnyCluster_GivesTheSameBits()
    {
        Job job = Base() with { Training = new() { MaxSteps = 12 }, Batch = new() { Size = 50, Shards = 7 } };
        using TrainedModel whole = await Trainer.TrainAsync(job);
        foreach ((int micro, int workers) in ((int, int)[])[(8, 1), (20, 1), (16, 2), (1, 3)])
        {
            Job cut = job with { Batch = job.Batch with { MicroSize = micro }, Cluster = new() { Workers = workers, Servers = 2 } };
            using TrainedModel model = await Trainer.TrainAsync(cut);
            Assert.Equal(whole.Result.WeightsSha256, model.Result.WeightsSha256);
        }
    }

    [Fact]
    public async Task Clips_WithOptimizersThatScaleByNorms_AreRefused()
    {
        Job job = Base() with { Optimizer = new LambSpec() };
        DistTrainException e = await Assert.ThrowsAsync<DistTrainException>(() => Trainer.TrainAsync(job with { Training = job.Training with { ClipNorm = 1 } }));
        Assert.Equal("training: 'clip_norm' does not go with the optimizer 'lamb', whose steps are as long as each tensor's norm says; leave it out", e.Message);
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
            Training = new() { Epochs = 6 },
            Cluster = new() { Workers = 1 },
        };
    }
}
