namespace DistTrain.EndToEnd.Tests;

/// <summary>A cluster that hangs tells why, and so does any process that is asked.</summary>
public sealed class ExplainTests : IDisposable
{
    private readonly Cli _cli = new();

    public void Dispose() => _cli.Dispose();

    [Fact]
    public async Task Worker_ThatHangs_IsNamedWithTheShardsThatAreWaitedFor()
    {
        if (!OperatingSystem.IsLinux()) return;
        // Others' shards would be computed by the other worker: there is none.
        using Cli.Running run = _cli.Start("train --workers 1 --servers 1 --set training.epochs=20 --set cluster.failure_timeout=5m --set cluster.watchdog=1s", ("DISTTRAIN_FAULTS", "step_delay=20"));
        await run.SeenAsync("after 1 epoch");
        int worker = run.Child("worker");

        Cli.Kill(worker, "STOP");
        await run.SeenAsync("nothing has happened for");
        await run.SeenAsync($"(pid {worker} on {Environment.MachineName}) does not answer (shards [0,8))");
        await run.SeenAsync($"waits for shards 0, 1, 2, 3, 4, 5, 6, 7 of worker");
        Cli.Kill(worker, "CONT");

        CliResult result = await run.EndAsync();
        Assert.True(result.ExitCode == 0, result.ToString());
        Assert.Contains("steps go on: step ", result.Output, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Quit_IsAnsweredByEveryProcess_WhichGoesOn()
    {
        if (!OperatingSystem.IsLinux()) return;
        using Cli.Running run = _cli.Start("train --workers 2 --servers 1 --set training.epochs=2000", ("DISTTRAIN_FAULTS", "step_delay=20"));
        await run.SeenAsync("after 1 epoch");
        (int worker, int server, int coordinator) = (run.Child("worker"), run.Child("server"), run.Child("coordinator"));

        Cli.Kill(worker, "QUIT");
        await run.SeenAsync($"worker (pid {worker}) | worker ");
        Cli.Kill(server, "QUIT");
        await run.SeenAsync($"server (pid {server}) | server ");
        Cli.Kill(coordinator, "QUIT");
        await run.SeenAsync(" may be done");
        Cli.Kill(run.Pid, "QUIT");
        await run.SeenAsync(" may be done", times: 2);
        run.Signal("INT");

        CliResult result = await run.EndAsync();
        Assert.True(result.ExitCode == 130, result.ToString());
    }

    [Fact]
    public async Task Quit_BeforeTheClusterHasFormed_IsAnsweredToo()
    {
        if (!OperatingSystem.IsLinux()) return;
        using Cli.Running coordinator = _cli.Start("coordinator --listen 127.0.0.1:0 --workers 1 --servers 1 --set training.epochs=1");
        string address = await coordinator.AddressAsync();
        await coordinator.SeenAsync("waiting for 1 of 1 worker");
        Cli.Kill(coordinator.Pid, "QUIT");
        await coordinator.SeenAsync("waiting for members: 0 of 1 workers and 0 of 1 servers have joined");
        using Cli.Running server = _cli.Start($"server --join {address}");
        await server.SeenAsync("joined as server");
        Cli.Kill(server.Pid, "QUIT");
        await server.SeenAsync("has heard of no term yet");
        using Cli.Running worker = _cli.Start($"worker --join {address}");

        CliResult result = await coordinator.EndAsync();

        Assert.True(result.ExitCode == 0, result.ToString());
    }
}
