using DistTrain.Composition;
using DistTrain.Core;
using DistTrain.Data;
using DistTrain.Jobs;
using DistTrain.Nn;
using DistTrain.Optim;
using DistTrain.Training;

namespace DistTrain.Tests.Composition;

/// <summary>Local SGD: shards train by themselves between two steps, whoever computes them.</summary>
public sealed class LocalSgdRunTests : IDisposable
{
    private readonly string _directory = Directory.CreateTempSubdirectory("disttrain-local-").FullName;

    public void Dispose() => Directory.Delete(_directory, recursive: true);

    // The last round of an epoch is a short one, and so is the last mini-batch.
    [Fact]
    public async Task Run_OnAnyCluster_ComesToTheSameBits()
    {
        Job job = Of(every: 5, new SgdSpec(0.7, 0.9, Nesterov: true));
        TrainResult one = await Run(job);
        Assert.Equal((0, 3 * 3L), (one.ExitCode, one.Steps));
        Assert.Equal(3 * one.TrainExamples, one.Examples);
        foreach (ClusterOptions cluster in (ClusterOptions[])[new() { Workers = 2, Servers = 2 }, new() { Workers = 3, Servers = 1, BucketLength = 4096 }])
        {
            TrainResult other = await Run(job with { Cluster = cluster with { Consistency = job.Cluster.Consistency } });
            Assert.Equal((one.WeightsSha256, one.TestLoss), (other.WeightsSha256, other.TestLoss));
        }

        TrainResult sync = await Run(job with { Cluster = new() { Workers = 1 } });
        Assert.NotEqual(sync.WeightsSha256, one.WeightsSha256);
    }

    // Of one shard and one mini-batch, what it moves by is the step itself.
    [Fact]
    public async Task Run_RoundOfOneMiniBatchAndOneShard_IsPlainSgd()
    {
        Job job = Of(every: 1, new SgdSpec(1, 0)) with { Optimizer = new SgdSpec(0.1, 0), Batch = new() { Size = 128, Shards = 1 } };
        TrainResult local = await Run(job), plain = await Run(job with { Cluster = new() { Workers = 1 } });
        Assert.Equal(plain.Steps, local.Steps);
        Assert.Equal(plain.TestLoss!.Value, local.TestLoss!.Value, 1e-4);
        Assert.Equal(plain.TrainLoss!.Value, local.TrainLoss!.Value, 1e-4);
    }

    // Running statistics are part of what shards come to: without them evaluation would be far off.
    [Fact]
    public async Task Run_WithBatchNorm_AveragesRunningStatistics()
    {
        Job job = Of(every: 4, new SgdSpec(1, 0));
        job = job with { Model = new ModelSpec([Layers.Flatten(), Layers.Dense(32), Layers.BatchNorm(), Layers.Relu(), Layers.Dense(10)]), Training = new() { Epochs = 8 } };
        TrainResult one = await Run(job);
        Assert.InRange(one.TestAccuracy!.Value, 0.9, 1);
        TrainResult two = await Run(job with { Cluster = job.Cluster with { Workers = 2 } });
        Assert.Equal(one.WeightsSha256, two.WeightsSha256);
    }

    [Fact]
    public async Task Run_Resumed_EndsAsAnUnbrokenOne()
    {
        Job job = Of(every: 5, new SgdSpec(0.7, 0.9));
        TrainResult whole = await Run(job);
        Job saved = job with { Checkpoint = new() { Path = _directory, Every = CheckpointInterval.Steps(2) } };
        await Run(saved with { Training = new() { Epochs = 3, MaxSteps = 4 } }, save: true);
        TrainResult rest = await Run(saved, save: true, resume: true);
        Assert.Equal((whole.Steps, whole.WeightsSha256), (rest.Steps, rest.WeightsSha256));
    }

    // 1,438 examples are 12 mini-batches of 128.
    [Theory]
    [InlineData(1, GradientWire.Float32, "for 1 mini-batch between two steps; the weights are the same for any cluster, but others")]
    [InlineData(5, GradientWire.Int8, "for 5 mini-batches between two steps; the weights are the same for any cluster, but others")]
    [InlineData(1_000_000, GradientWire.Float32, "for a whole epoch (12 mini-batches) between two steps; the weights are the same for any cluster, but others")]
    [InlineData(5, GradientWire.TopK, "for 5 mini-batches between two steps; the weights are others than those of sync")]
    public async Task Run_SaysWhatARoundIs(int every, GradientWire wire, string expected)
    {
        var recorder = new Recorder();
        Job job = Of(every, new SgdSpec(1, 0)) with { Training = new() { Epochs = 1 }, Wire = new() { Gradients = wire } };
        await using var run = new InProcessRun(job, resume: false, save: false, recorder);
        await run.RunAsync(CancellationToken.None);
        Assert.Contains(expected, Assert.Single(recorder.Notes, n => n.Contains("local_sgd", StringComparison.Ordinal)), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("training: { clip_norm: 1 }", "clip_norm")]
    [InlineData("training: { precision: fp16 }", "fp16")]
    [InlineData("optimizer: { lamb: {} }", "lamb")]
    [InlineData("schedule: { plateau: {} }", "plateau")]
    public void Read_WhatNeedsTheServers_IsRefused(string section, string named)
    {
        string text = $$"""
            data: { name: digits }
            model: [ flatten, { dense: 10 } ]
            cluster: { consistency: { local_sgd: { every: 4 } } }
            {{section}}
            """;
        DistTrainException e = Assert.Throws<DistTrainException>(() => JobReader.Parse(text, "job.yaml"));
        Assert.Equal(ExitCode.BadUsage, e.ExitCode);
        Assert.Contains(named, e.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void ToYaml_OfLocalSgd_ReadsBackAndCountsForTheHash()
    {
        Job job = JobReader.Parse("data: { name: digits }\nmodel: [ flatten, { dense: 10 } ]\ncluster: { consistency: { local_sgd: { every: 16, outer: { sgd: { learning_rate: 0.7, momentum: 0.9, nesterov: true } } } } }", "job.yaml");
        Assert.Equal(new LocalSgd(16, new SgdSpec(0.7, 0.9, Nesterov: true)), job.Cluster.Consistency.Local);
        Job again = JobReader.Parse(job.ToYaml(), "again.yaml");
        Assert.Equal((job.Hash, job.Cluster.Consistency), (again.Hash, again.Cluster.Consistency));
        Assert.NotEqual(job.Hash, (job with { Cluster = new() }).Hash);
    }

    private static Job Of(int every, OptimizerSpec outer) => new()
    {
        Name = "local",
        Model = new ModelSpec([Layers.Flatten(), Layers.Dense(24), Layers.Relu(), Layers.Dense(10)]),
        Optimizer = new AdamSpec(3e-3),
        Batch = new() { Size = 128, Shards = 4 },
        Training = new() { Epochs = 3 },
        Cluster = new() { Workers = 1, Consistency = Consistency.Sync with { Local = new(every, outer) } },
    };

    private static async Task<TrainResult> Run(Job job, bool save = false, bool resume = false)
    {
        await using var run = new InProcessRun(job, resume, save, new Recorder());
        return await run.RunAsync(CancellationToken.None);
    }
}
