using System.Text.Json;

namespace DistTrain.EndToEnd.Tests;

/// <summary>Workers that lag but aren't lost: others compute their shards too, and the bits stay the same.</summary>
public sealed class StragglerTests : IDisposable
{
    private readonly Cli _cli = new();

    public void Dispose() => _cli.Dispose();

    [Theory]
    [InlineData("")]
    [InlineData("--channel grpc")]
    public async Task Worker_StoppedInTheMiddle_IsDoneWithoutAndLeavesTheFrozenBits(string channel)
    {
        if (!OperatingSystem.IsLinux()) return;
        using Cli.Running run = _cli.Start($"train --workers 3 {channel} --set cluster.failure_timeout=60s --json lagging.json");
        await run.SeenAsync("after 1 epoch");
        int worker = run.Children().First(pid => File.ReadAllText($"/proc/{pid}/cmdline").Contains("\0worker\0", StringComparison.Ordinal));
        Cli.Kill(worker, "STOP");
        try
        {
            await run.SeenAsync("lags ");
            await run.SeenAsync("weights sha256");
        }
        finally
        {
            Cli.Kill(worker, "CONT");
        }

        CliResult result = await run.EndAsync();
        Assert.True(result.ExitCode == 0, result.ToString());
        JsonElement json = _cli.Json("lagging.json");
        Assert.Equal(SamenessTests.DefaultJob, json.GetProperty("weights_sha256").GetString());
        Assert.True(json.GetProperty("assisted_shards").GetInt64() > 0);
        Assert.Empty(json.GetProperty("failures").EnumerateArray());
    }

    [Fact]
    public async Task Worker_StoppedNowAndThen_ComesBackAndLeavesTheSameBits()
    {
        if (!OperatingSystem.IsLinux()) return;
        const string Long = "--set batch.size=50 --set training.max_steps=8000 --set training.epochs=600 --set cluster.failure_timeout=60s";
        string expected = (await _cli.TrainAsync($"--in-process --workers 1 {Long} --set checkpoint.path=runs/one")).GetProperty("weights_sha256").GetString()!;
        using Cli.Running run = _cli.Start($"train --workers 3 {Long} --set checkpoint.path=runs/three --json lagging.json");
        await run.SeenAsync("after ");
        foreach (int worker in run.Children().Where(pid => File.ReadAllText($"/proc/{pid}/cmdline").Contains("\0worker\0", StringComparison.Ordinal)))
        {
            Cli.Kill(worker, "STOP");
            try
            {
                await run.SeenAsync($"(pid {worker} on {Environment.MachineName}) lags");
            }
            finally
            {
                Cli.Kill(worker, "CONT");
            }
        }

        CliResult result = await run.EndAsync();
        Assert.True(result.ExitCode == 0, result.ToString());
        JsonElement json = _cli.Json("lagging.json");
        Assert.Equal(expected, json.GetProperty("weights_sha256").GetString());
        Assert.True(json.GetProperty("assisted_shards").GetInt64() > 0);
        Assert.Empty(json.GetProperty("failures").EnumerateArray());
    }
}
