using DistTrain.Chaos;
using DistTrain.Composition;
using DistTrain.Core;
using DistTrain.Core.Sharding;
using DistTrain.Jobs;
using DistTrain.Nn;
using DistTrain.Optim;
using DistTrain.Training;

namespace DistTrain.Tests.Composition;

/// <summary>Which examples each step used.</summary>
public sealed class AuditRunTests : IDisposable
{
    private readonly string _directory = Directory.CreateTempSubdirectory("disttrain-audit-").FullName;

    private string Audit => Path.Combine(_directory, "audit.jsonl");

    public void Dispose() => Directory.Delete(_directory, recursive: true);

    [Theory]
    [InlineData(1, null, 0)]
    [InlineData(3, null, 0)]
    [InlineData(2, 5, 0)]
    [InlineData(2, null, 3)]
    public async Task Run_WithAudit_UsesEachExampleOfAnEpochOnce(int workers, int? localSteps, int bound)
    {
        Consistency consistency = localSteps is { } every ? Consistency.Sync with { Local = new(every, new SgdSpec(1, 0)) } : Consistency.Ssp(bound);
        Job job = Small with { Cluster = new() { Workers = workers, Consistency = consistency } };

        TrainResult result = await Run(job, new Recorder());

        Assert.Null(AuditCheck.Fault(Audit, result.Steps, result.TrainExamples));
        Assert.Equal(3 * result.TrainExamples, result.Examples);
    }

    // What was recorded after the checkpoint that the job goes on from is taken out, and so is half a line.
    [Fact]
    public async Task Run_Resumed_GoesOnWithTheFile()
    {
        Job saved = Small with { Checkpoint = new() { Path = Path.Combine(_directory, "run"), Every = CheckpointInterval.Steps(8) } };
        TrainResult first = await Run(saved with { Training = new() { Epochs = 3, MaxSteps = 16 } }, new Recorder(), save: true);
        Directory.Delete(Directory.GetDirectories(Path.Combine(_directory, "run")).Order(StringComparer.Ordinal).Last(), recursive: true);
        File.AppendAllText(Audit, "{\"step\":16,\"ep");

        TrainResult rest = await Run(saved, new Recorder(), save: true, resume: true);

        Assert.Equal(16, first.Steps);
        Assert.Null(AuditCheck.Fault(Audit, rest.Steps, rest.TrainExamples));
    }

    [Fact]
    public async Task Run_AnewOverAnotherFile_BeginsAnew()
    {
        File.WriteAllText(Audit, "{\"step\":400}\n");
        TrainResult result = await Run(Small, new Recorder());
        Assert.Null(AuditCheck.Fault(Audit, result.Steps, result.TrainExamples));
    }

    [Theory]
    [InlineData("a shopping list\n")]
    [InlineData("{\"step\":0,\"epoch\":0,\"shards\":[[1]]}\n{\"step\":2,\"epoch\":0,\"shards\":[[1]]}\n")]
    public void Open_SomethingElse_IsRefused(string content)
    {
        File.WriteAllText(Audit, content);
        DistTrainException e = Assert.Throws<DistTrainException>(() => AuditFile.Open(JobContext.Load(Small), Audit, 5, _ => { }));
        Assert.Equal(ExitCode.BadUsage, e.ExitCode);
        Assert.Contains("holds something else", e.Message, StringComparison.Ordinal);
        Assert.Equal(content, File.ReadAllText(Audit));
    }

    [Fact]
    public void Committed_OtherExamplesThanTheMiniBatchs_IsAnError()
    {
        JobContext context = JobContext.Load(Small);
        using AuditFile audit = AuditFile.Open(context, Audit, 0, _ => { });
        ulong digest = 0;
        for (int shard = 0; shard < 4; shard++) digest += ExampleDigest.Of(context.Examples(0, shard));
        audit.Committed(1, Counted(digest));
        // An example that counted twice.
        var e = Assert.Throws<DistTrainException>(() => audit.Committed(2, Counted(digest + ExampleDigest.Of([3]))));
        Assert.Equal(ExitCode.Internal, e.ExitCode);
        Assert.Contains("step 1 counted", e.Message, StringComparison.Ordinal);
        Assert.Single(File.ReadAllLines(Audit));
    }

    // Steps that nobody was told of leave no hole that looks like a whole record.
    [Fact]
    public void Committed_AfterAGap_EndsTheRecordAndSaysSo()
    {
        JobContext context = JobContext.Load(Small);
        var warnings = new List<string>();
        using AuditFile audit = AuditFile.Open(context, Audit, 0, warnings.Add);
        foreach (long step in (long[])[0, 1, 3])
        {
            ulong digest = 0;
            for (int shard = 0; shard < 4; shard++) digest += ExampleDigest.Of(context.Examples(step, shard));
            audit.Committed(step + 1, Counted(digest));
        }

        Assert.Contains("ends before step 2", Assert.Single(warnings), StringComparison.Ordinal);
        Assert.Equal(2, File.ReadAllLines(Audit).Length);
    }

    private static Job Small { get; } = new()
    {
        Name = "audit",
        Model = new ModelSpec([Layers.Flatten(), Layers.Dense(10)]),
        Optimizer = new SgdSpec(0.05, 0),
        Batch = new() { Size = 128, Shards = 4 },
        Training = new() { Epochs = 3 },
        Cluster = new() { Workers = 1 },
    };

    private static SegmentStats Counted(ulong digest) => new(1, 128, 0, 128, 128) { ExampleDigest = digest };

    private async Task<TrainResult> Run(Job job, Recorder recorder, bool save = false, bool resume = false)
    {
        await using var run = new InProcessRun(job, resume, save, recorder, new RunRecords(Audit: Audit));
        TrainResult result = await run.RunAsync(CancellationToken.None);
        Assert.DoesNotContain(recorder.Warnings, w => w.Contains("audit", StringComparison.Ordinal));
        return result;
    }
}
