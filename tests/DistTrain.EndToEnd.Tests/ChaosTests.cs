using System.Text.Json;
using DistTrain.Chaos;

namespace DistTrain.EndToEnd.Tests;

/// <summary>Processes that die or hang while they train: the run ends, with the bits of an undisturbed one. <c>tests/chaos</c> goes on for longer.</summary>
public sealed class ChaosTests : IDisposable
{
    private const string Job = "--set training.max_steps=200 --set training.epochs=40";

    private readonly Cli _cli = new();

    public void Dispose() => _cli.Dispose();

    [Theory]
    [InlineData(2, "--workers 3 --servers 2")]
    [InlineData(3, "--workers 3 --servers 1 --replicas 1")]
    [InlineData(4, "--workers 2:3 --servers 2 --replicas 1")]
    public async Task Run_ProcessesKilledAndStopped_EndsWithTheSameBits(int seed, string cluster)
    {
        if (!OperatingSystem.IsLinux()) return;
        var chaos = new ChaosRun(Cli.Metadata("Cli"), _cli.Folder);
        ChaosResult undisturbed = await chaos.RunAsync($"{Job} --in-process --workers 1", null, 0);
        Assert.Equal(0, undisturbed.ExitCode);

        ChaosResult result = await chaos.RunAsync($"{Job} {cluster} --set checkpoint.every=20", seed, mostEvents: 12);

        string what = string.Join('\n', result.Events) + "\n" + result.Output;
        Assert.True(result.ExitCode == 0, what);
        Assert.True(result.Sha == undisturbed.Sha, what);
        Assert.True(result.AuditFault is null, $"{result.AuditFault}\n{what}");
    }

    [Theory]
    [InlineData("server", "--workers 2 --servers 1 --replicas 1", "SIGKILL")]
    [InlineData("server", "--workers 2 --servers 2", "from the checkpoint at step")]
    [InlineData("coordinator", "--workers 2 --servers 1", "another one takes its place")]
    [InlineData("worker", "--workers 2 --servers 1", "SIGKILL")]
    public async Task Process_KilledWhileTraining_IsNamedAndFollowed(string role, string cluster, string said)
    {
        if (!OperatingSystem.IsLinux()) return;
        const string Long = "--set training.max_steps=400 --set training.epochs=80";
        JsonElement undisturbed = await _cli.TrainAsync($"{Long} --in-process --workers 1 --set checkpoint.path=runs/one");
        using Cli.Running run = _cli.Start($"train {Long} {cluster} --set checkpoint.every=20 --json lost.json", ("DISTTRAIN_FAULTS", "step_delay=20"));
        await run.SeenAsync("after 1 epoch");
        int victim = run.Children().First(pid => File.ReadAllText($"/proc/{pid}/cmdline").Split('\0').Contains(role));

        Cli.Kill(victim, "KILL");

        CliResult result = await run.EndAsync();
        Assert.True(result.ExitCode == 0, result.ToString());
        Assert.Contains(said, result.Output + result.Error, StringComparison.Ordinal);
        JsonElement json = _cli.Json("lost.json");
        // Steps that were computed a second time count once.
        foreach (string figure in (string[])["weights_sha256", "steps", "examples", "train_loss", "test_loss"])
        {
            (string expected, string actual) = (undisturbed.GetProperty(figure).ToString(), json.GetProperty(figure).ToString());
            Assert.True(expected == actual, $"{figure}: {actual} instead of {expected}\n{result}");
        }

        JsonElement failure = json.GetProperty("failures").EnumerateArray().First();
        Assert.Equal(victim, failure.GetProperty("pid").GetInt32());
        Assert.True(failure.GetProperty("recovered_ms").GetDouble() > 0);
    }

    [Theory]
    [InlineData("")]
    [InlineData("--set training.clip_norm=1 --set training.ema=0.9 --set wire.weights=bf16")]
    [InlineData("--channel grpc")]
    public async Task SecondCopy_MadeWhileTrainingGoesOn_TakesOverInItsTurn(string job)
    {
        if (!OperatingSystem.IsLinux()) return;
        string Long = $"--set training.max_steps=300 --set training.epochs=80 {job}";
        JsonElement undisturbed = await _cli.TrainAsync($"{Long.Replace("--channel grpc", "", StringComparison.Ordinal)} --in-process --workers 1 --set checkpoint.path=runs/one");
        using Cli.Running run = _cli.Start($"train {Long} --workers 2 --servers 1 --replicas 1 --json copies.json", ("DISTTRAIN_FAULTS", "step_delay=30"));
        await run.SeenAsync("after 1 epoch");
        int[] servers = [.. Servers(run)];

        Cli.Kill(servers[0], "KILL");
        await run.SeenAsync("has the second copy of partition 0 from step");
        Cli.Kill(servers[1], "KILL");

        CliResult result = await run.EndAsync();
        Assert.True(result.ExitCode == 0, result.ToString());
        Assert.DoesNotContain("goes on from", result.Output, StringComparison.Ordinal);
        Assert.Equal(undisturbed.GetProperty("weights_sha256").GetString(), _cli.Json("copies.json").GetProperty("weights_sha256").GetString());
        Assert.Equal(servers, _cli.Json("copies.json").GetProperty("failures").EnumerateArray().Select(f => f.GetProperty("pid").GetInt32()));
    }

    private static IEnumerable<int> Servers(Cli.Running run) =>
        run.Children().Where(pid => File.ReadAllText($"/proc/{pid}/cmdline").Split('\0').Contains("server"));

    [Fact]
    public async Task CoordinatorAndEveryServer_KilledAtOnce_AreFollowedByOthersWhomTheWorkersHear()
    {
        if (!OperatingSystem.IsLinux()) return;
        JsonElement undisturbed = await _cli.TrainAsync($"{Job} --in-process --workers 1 --set checkpoint.path=runs/one");
        using Cli.Running run = _cli.Start($"train {Job} --workers 2 --servers 1 --set checkpoint.every=20 --json both.json", ("DISTTRAIN_FAULTS", "step_delay=20"));
        await run.SeenAsync("after 1 epoch");

        foreach (int pid in run.Children().Where(pid => File.ReadAllText($"/proc/{pid}/cmdline").Split('\0').Any(w => w is "coordinator" or "server"))) Cli.Kill(pid, "KILL");

        CliResult result = await run.EndAsync();
        Assert.True(result.ExitCode == 0, result.ToString());
        Assert.Equal(undisturbed.GetProperty("weights_sha256").GetString(), _cli.Json("both.json").GetProperty("weights_sha256").GetString());
    }

    [Theory]
    [InlineData("--servers 2")]
    [InlineData("--servers 1 --replicas 1")]
    public async Task Server_ThatIsTerminated_HandsItsPartitionOverFirst(string cluster)
    {
        if (!OperatingSystem.IsLinux()) return;
        JsonElement undisturbed = await _cli.TrainAsync($"{Job} --in-process --workers 1 --set checkpoint.path=runs/one");
        using Cli.Running coordinator = _cli.Start($"coordinator --listen 127.0.0.1:0 {Job} --workers 1 {cluster} --json left.json");
        string address = await coordinator.AddressAsync();
        using Cli.Running leaving = _cli.Start($"server --join {address}");
        using Cli.Running staying = _cli.Start($"server --join {address}");
        using Cli.Running worker = _cli.Start($"worker --join {address}", ("DISTTRAIN_FAULTS", "step_delay=20"));
        await coordinator.SeenAsync("after 1 epoch");

        Cli.Kill(leaving.Pid, "TERM");

        CliResult left = await leaving.EndAsync(), result = await coordinator.EndAsync();
        Assert.True(left.ExitCode == 130, left.ToString());
        Assert.True(result.ExitCode == 0, result.ToString());
        Assert.Contains("left: it was interrupted", result.Error, StringComparison.Ordinal);
        Assert.DoesNotContain("computed again", result.Output, StringComparison.Ordinal);
        Assert.Equal(undisturbed.GetProperty("weights_sha256").GetString(), _cli.Json("left.json").GetProperty("weights_sha256").GetString());
    }

    [Fact]
    public async Task Shard_ThatEndsEveryWorker_StopsTheJobByItsName()
    {
        CliResult result = await _cli.RunAsync($"train {Job} --workers 3 --set batch.shards=3", ("DISTTRAIN_FAULTS", "crash=1@45"));

        Assert.True(result.ExitCode == 1, result.ToString());
        Assert.Contains("shard [1,2) of step 45 ended every worker that computed it", result.Error, StringComparison.Ordinal);
        Assert.Contains("crashed on purpose at shard 1 of step 45", result.Error, StringComparison.Ordinal);
    }
}
