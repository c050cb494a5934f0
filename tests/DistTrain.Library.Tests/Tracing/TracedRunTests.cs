using System.Text.Json;
using DistTrain.Core;
using DistTrain.Jobs;
using DistTrain.Tests.Composition;

namespace DistTrain.Tests.Tracing;

/// <summary>Traces of whole trainings in this process.</summary>
public sealed class TracedRunTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("disttrain-trace-").FullName;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Theory]
    [InlineData("sync", "forward,loss,backward,gradient ready,bucket ready,pushed,segment received,reduced,applied,published,weights arrived,committed,granted,evaluate")]
    [InlineData("async", "forward,loss,backward,pushed,applied,published,weights arrived,committed")]
    [InlineData("local_sgd: { every: 2 }", "local steps,pushed,reduced,applied,published,weights arrived,committed")]
    public async Task Chain_IsThere(string consistency, string names)
    {
        string file = Path.Combine(_folder, "trace.json");
        string mode = consistency.Contains(':', StringComparison.Ordinal) ? $"{{ {consistency} }}" : consistency;
        Job job = JobReader.Parse($$"""
            data: { name: digits }
            model: [flatten, { dense: 16 }, relu, { dense: 10 }]
            batch: { size: 64, shards: 4 }
            training: { max_steps: 40 }
            cluster: { workers: 2, servers: 2, consistency: {{mode}} }
            checkpoint: { path: {{Path.Combine(_folder, "run")}} }
            """, "test");
        TrainResult result = await Roles.TrainInProcessAsync(job, resume: false, new Recorder(), CancellationToken.None, new RunRecords(Trace: file));
        Assert.Equal((int)ExitCode.Done, result.ExitCode);
        List<JsonElement> events = [.. JsonDocument.Parse(await File.ReadAllBytesAsync(file)).RootElement.GetProperty("traceEvents").EnumerateArray()];
        HashSet<string> there = [.. events.Where(e => e.GetProperty("ph").GetString() == "X").Select(e => e.GetProperty("name").GetString()!)];
        Assert.Empty(names.Split(',').Except(there));
        Assert.Contains(events, e => e.GetProperty("ph").GetString() == "s" && e.GetProperty("name").GetString() == "gradient");
        Assert.Contains(events, e => e.GetProperty("ph").GetString() == "f" && e.GetProperty("name").GetString() == "weights");
        Assert.Equal(["segments waiting", "managed bytes"], ((string[])["segments waiting", "managed bytes"]).Intersect(events.Where(e => e.GetProperty("ph").GetString() == "C").Select(e => e.GetProperty("name").GetString()!)));
        if (consistency == "sync")
        {
            StepSplit split = result.Split!;
            Assert.Equal(split.StepMs, split.ComputeMs + split.CommunicationMs + split.ReductionMs + split.StallMs + split.OtherMs, 9);
            Assert.All([split.ComputeMs, split.CommunicationMs, split.ReductionMs, split.StallMs], part => Assert.InRange(part, 0, split.StepMs));
            Assert.Equal(4, split.ManagedBytesPerStep.Count);
        }
    }

    [Fact]
    public async Task FileThatCannotBeWritten_CostsNoTraining()
    {
        Job job = JobReader.Parse($"data: {{ name: digits }}\nmodel: [flatten, {{ dense: 10 }}]\ntraining: {{ max_steps: 5 }}\ncheckpoint: {{ path: {Path.Combine(_folder, "run")} }}", "test");
        TrainResult result = await Roles.TrainInProcessAsync(job, resume: false, new Recorder(), CancellationToken.None, new RunRecords(Trace: Path.Combine(_folder, "none", "trace.json")));
        Assert.Equal((int)ExitCode.Done, result.ExitCode);
    }
}
