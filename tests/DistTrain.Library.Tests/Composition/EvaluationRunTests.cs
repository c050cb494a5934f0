using DistTrain.Composition;
using DistTrain.Core;
using DistTrain.Data;
using DistTrain.Jobs;
using DistTrain.Nn;
using DistTrain.Optim;

namespace DistTrain.Tests.Composition;

/// <summary>Trainings in this process that listen to their evaluations: the same decisions and bits on any cluster, broken off or not.</summary>
public sealed class EvaluationRunTests : IDisposable
{
    private readonly string _directory = Directory.CreateTempSubdirectory("disttrain-evaluations-").FullName;

    public void Dispose() => Directory.Delete(_directory, recursive: true);

    [Fact]
    public async Task EarlyStopping_OnAnyCluster_EndsAtOneStepWithTheBestVersionsBits()
    {
        Job job = Base() with { Training = new() { Epochs = 30, EarlyStopping = new(2, 0.05) } };
        var seen = new Recorder();
        TrainResult one = await Run(job, seen);
        EvaluationReport best = seen.Evaluations.First(e => e.Version == one.BestStep);
        Assert.Equal((0, best.TestLoss, best.TestAccuracy), (one.ExitCode, one.TestLoss, one.TestAccuracy));
        Assert.Null(one.Error);
        Assert.Equal(one.BestStep + 24, one.Steps);
        Assert.InRange(one.Steps, 25, 359);
        Assert.All(seen.Evaluations.Where(e => e.Version > one.BestStep), e => Assert.True(e.TestLoss >= best.TestLoss - 0.05));
        Assert.Contains(seen.Notes, n => n.StartsWith($"stopped early at step {one.Steps}: 2 evaluations", StringComparison.Ordinal));

        foreach (ClusterOptions cluster in (ClusterOptions[])[new() { Workers = 2, Servers = 3 }, new() { Workers = 3, Servers = 2, BucketLength = 4096 }])
        {
            TrainResult other = await Run(job with { Cluster = cluster });
            Assert.Equal((one.Steps, one.BestStep, one.WeightsSha256, one.TestLoss), (other.Steps, other.BestStep, other.WeightsSha256, other.TestLoss));
        }

        TrainResult plain = await Run(job with { Training = new() { Epochs = 30, MaxSteps = one.BestStep } });
        Assert.Equal((plain.WeightsSha256, plain.TestLoss, (long?)null), (one.WeightsSha256, one.TestLoss, plain.BestStep));
    }

    [Fact]
    public async Task Trainer_WithEarlyStopping_GivesTheBestModel()
    {
        Job job = Base() with { Training = new() { Epochs = 30, EarlyStopping = new(2, 0.05) } };
        using TrainedModel model = await Trainer.TrainAsync(job);
        using TrainedModel plain = await Trainer.TrainAsync(job with { Training = new() { MaxSteps = model.Result.BestStep } });
        Assert.Equal(plain.Tensor("3.weight").ToArray(), model.Tensor("3.weight").ToArray());
    }

    // Epochs are of 12 steps. Ctrl-C comes with the commit of a step: within an epoch, at an evaluation, and just before one.
    [Theory]
    [InlineData(5, null)]
    [InlineData(11, null)]
    [InlineData(24, null)]
    [InlineData(40, null)]
    [InlineData(5, 0.9)]
    [InlineData(24, 0.9)]
    public async Task Run_BrokenOffAndResumed_EndsAsAnUnbrokenOne(long at, double? ema)
    {
        Job job = Base() with
        {
            Training = new() { Epochs = 30, EarlyStopping = new(3, 0.02), Ema = ema },
            Schedule = new PlateauSchedule(0.5, 0, 0.2),
            Checkpoint = new() { Path = Path.Combine(_directory, "run"), Keep = 1, Every = CheckpointInterval.Epochs(1) },
        };
        TrainResult unbroken = await Run(job with { Checkpoint = new() });
        Assert.InRange(unbroken.Steps, 49, 359);
        using var stop = new CancellationTokenSource();
        var stopper = new Recorder { Stepped = step => { if (step == at) stop.Cancel(); } };
        TrainResult first = await Run(job, stopper, save: true, stop: stop.Token);
        Assert.Equal((int)ExitCode.Interrupted, first.ExitCode);
        TrainResult second = await Run(job with { Cluster = new() { Workers = 2, Servers = 2 } }, resume: true, save: true);
        Assert.Equal((unbroken.Steps, unbroken.BestStep, unbroken.WeightsSha256, unbroken.TestLoss), (second.Steps, second.BestStep, second.WeightsSha256, second.TestLoss));

        // What stands in the directory: the last version, and the best one beyond what is to be kept.
        EvaluationResult evaluated = Evaluation.Run(job.RunDirectory, [], _ => { });
        Assert.Equal((second.BestStep, second.WeightsSha256, second.TestLoss), (evaluated.Steps, evaluated.WeightsSha256, evaluated.TestLoss));
        Assert.Equal(second.Checkpoint, evaluated.Checkpoint);
        Assert.Equal([$"{second.BestStep:D8}", $"{second.Steps:D8}"], Directory.GetDirectories(job.RunDirectory).Select(d => d[^8..]).Order());

        // A run that is over stays so.
        TrainResult third = await Run(job, resume: true, save: true);
        Assert.Equal((0, second.Steps, second.BestStep, second.WeightsSha256, second.TestLoss), (third.ExitCode, third.Steps, third.BestStep, third.WeightsSha256, third.TestLoss));
    }

    [Fact]
    public async Task Plateau_OnAnyCluster_LowersTheRateAndGivesTheSameBits()
    {
        Job job = Base() with { Training = new() { Epochs = 6 }, Schedule = new PlateauSchedule(0.5, 0, 0.2) };
        var seen = new Recorder();
        TrainResult one = await Run(job, seen);
        TrainResult many = await Run(job with { Cluster = new() { Workers = 3, Servers = 3 } });
        Assert.Contains(seen.Notes, n => n.Contains("the learning rate falls to 5e-1", StringComparison.Ordinal));
        Assert.Equal(one.WeightsSha256, many.WeightsSha256);
        Assert.NotEqual(one.WeightsSha256, (await Run(job with { Schedule = new ConstantSchedule() })).WeightsSha256);
        Assert.Null(one.BestStep);
    }

    [Fact]
    public async Task Listeners_WithoutEvaluations_AreRefused()
    {
        Job job = Base() with { Model = new ModelSpec([Layers.Dense(2)]), Arrays = (new ArrayDataset(new float[] { 1, 2 }, [1], new[] { 0, 1 }, classes: 2), null), Training = new() { EarlyStopping = new() } };
        DistTrainException e = await Assert.ThrowsAsync<DistTrainException>(() => Trainer.TrainAsync(job));
        Assert.Equal((ExitCode.BadUsage, "training: 'early_stopping' listens to evaluations, and there are no test examples; give 'data.test_fraction' or 'data.test_path'"), (e.ExitCode, e.Message));
        e = await Assert.ThrowsAsync<DistTrainException>(() => Trainer.TrainAsync(job with { Training = new(), Schedule = new PlateauSchedule() }));
        Assert.StartsWith("schedule: 'plateau' listens to evaluations", e.Message, StringComparison.Ordinal);
    }

    private static Job Base() => new()
    {
        Data = new() { Name = "digits" },
        Model = new ModelSpec([Layers.Flatten(), Layers.Dense(80), Layers.Tanh(), Layers.Dense(10)]),
        Optimizer = new SgdSpec(0.02, 0.9),
        Batch = new() { Size = 128, Shards = 4 },
        Cluster = new() { Workers = 1 },
    };

    private static async Task<TrainResult> Run(Job job, Recorder? observer = null, bool resume = false, bool save = false, CancellationToken stop = default)
    {
        await using var run = new InProcessRun(job, resume, save, observer ?? new Recorder());
        return await run.RunAsync(stop);
    }
}
