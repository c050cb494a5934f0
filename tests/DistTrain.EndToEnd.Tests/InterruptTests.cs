using System.Text.Json;

namespace DistTrain.EndToEnd.Tests;

public sealed class InterruptTests : IDisposable
{
    private const string Job = "--workers 2 --set training.epochs=150 --set checkpoint.every=end";

    private readonly Cli _cli = new();

    public void Dispose() => _cli.Dispose();

    [Fact]
    public async Task CtrlC_InTheMiddle_SavesEndsAllAndResumesToTheSameBits()
    {
        if (!OperatingSystem.IsLinux()) return;
        using var other = new Cli();
        string unbroken = (await other.TrainAsync($"--in-process {Job}")).GetProperty("weights_sha256").GetString()!;

        using Cli.Running run = _cli.Start($"train {Job} --json stopped.json");
        await run.SeenAsync("after ");
        List<int> children = run.Children();
        Assert.Equal(4, children.Count);
        run.Signal("INT");
        CliResult result = await run.EndAsync();
        Assert.True(result.ExitCode == 130, result.ToString());
        Assert.DoesNotContain(children, Cli.IsRunning);

        JsonElement stopped = _cli.Json("stopped.json");
        Assert.Equal(130, stopped.GetProperty("exit_code").GetInt32());
        // On a machine that is too busy to save within the time that a user waits, that is said, and there is nothing to resume.
        string said = result.Output + result.Error;
        if (said.Contains("not saved in time", StringComparison.Ordinal) || said.Contains("before a checkpoint was complete", StringComparison.Ordinal)) return;
        Assert.Contains("--resume", said);
        Assert.InRange(stopped.GetProperty("steps").GetInt64(), 12, 1799);
        JsonElement resumed = await _cli.TrainAsync($"{Job} --resume");
        Assert.Equal(unbroken, resumed.GetProperty("weights_sha256").GetString());
    }
}
