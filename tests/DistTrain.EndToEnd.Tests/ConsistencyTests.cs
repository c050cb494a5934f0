using System.Text.Json;

namespace DistTrain.EndToEnd.Tests;

/// <summary>Steps that don't wait for each other, over real processes.</summary>
public sealed class ConsistencyTests : IDisposable
{
    private readonly Cli _cli = new();

    public void Dispose() => _cli.Dispose();

    [Theory]
    [InlineData("--workers 3 --set cluster.consistency.ssp=2", 2)]
    [InlineData("--workers 3 --servers 2 --set cluster.consistency=async", 1023)]
    [InlineData("--workers 2 --channel grpc --set cluster.consistency=async", 1023)]
    [InlineData("--in-process --workers 3 --set cluster.consistency.ssp.bound=1", 1)]
    [InlineData("--workers 2 --set cluster.consistency=async --set training.ema=0.9 --set training.precision=bf16", 1023)]
    public async Task DefaultJob_LearnsWithinTheBound(string arguments, int bound)
    {
        JsonElement result = await _cli.TrainAsync(arguments);
        Assert.True(result.GetProperty("test_accuracy").GetDouble() >= 0.9, result.ToString());
        Assert.Equal(20 * 1438, result.GetProperty("examples").GetInt64());
        Assert.InRange(result.GetProperty("staleness_max").GetInt64(), 0, bound);
        Assert.InRange(result.GetProperty("staleness_mean").GetDouble(), 0, bound);
    }

    [Fact]
    public async Task Start_SaysThatTimingDecides_AndSyncSaysNothing()
    {
        CliResult free = await _cli.RunAsync("train --workers 2 --set training.max_steps=20 --set cluster.consistency=async");
        Assert.Contains("cluster.consistency is async: the weights depend on timing", free.Output, StringComparison.Ordinal);
        Assert.Contains("steps in the mean", free.Output, StringComparison.Ordinal);
        CliResult sync = await _cli.RunAsync("train --workers 2 --set training.max_steps=20 --set cluster.consistency=sync --json sync.json");
        Assert.DoesNotContain("consistency", sync.Output, StringComparison.Ordinal);
        Assert.Equal(JsonValueKind.Null, _cli.Json("sync.json").GetProperty("staleness_max").ValueKind);
    }

    [Theory]
    [InlineData("--set cluster.consistency=async")]
    [InlineData("--set wire.gradients.top_k.fraction=0.05")]
    public async Task KilledWorker_LosesNoExample_AndTheRunResumes(string mode)
    {
        if (!OperatingSystem.IsLinux()) return;
        string job = $"--workers 3 {mode} --set training.epochs=60";
        using Cli.Running run = _cli.Start($"train {job} --json killed.json");
        await run.SeenAsync("after ");
        Cli.Kill(run.Children()[^1], "KILL");
        CliResult ended = await run.EndAsync();
        Assert.True(ended.ExitCode == 0, ended.ToString());
        JsonElement result = _cli.Json("killed.json");
        Assert.Equal(60 * 1438, result.GetProperty("examples").GetInt64());
        Assert.True(result.GetProperty("test_accuracy").GetDouble() >= 0.9, result.ToString());
        Assert.Single(result.GetProperty("failures").EnumerateArray());

        JsonElement resumed = await _cli.TrainAsync($"{job.Replace("epochs=60", "epochs=63", StringComparison.Ordinal)} --resume");
        Assert.Equal((63 * 12, 3 * 1438), (resumed.GetProperty("steps").GetInt64(), resumed.GetProperty("examples").GetInt64()));
        Assert.True(resumed.GetProperty("test_accuracy").GetDouble() >= 0.9, resumed.ToString());
    }
}
