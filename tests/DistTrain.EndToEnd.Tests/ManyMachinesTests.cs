using System.Text.Json;

namespace DistTrain.EndToEnd.Tests;

/// <summary>Coordinator, server and workers as commands of their own, as on many machines.</summary>
public sealed class ManyMachinesTests : IDisposable
{
    private readonly Cli _cli = new();

    public void Dispose() => _cli.Dispose();

    [Fact]
    public async Task Members_StartedBeforeTheCoordinatorWithAToken_FindItAndTrain()
    {
        string address = FreeAddress();
        _cli.File("token", "0123456789abcdef0123456789abcdef");
        _cli.File("job.yaml", File.ReadAllText(Path.Combine(Cli.Repository, "deploy", "jobs", "digits.yaml")));
        using Cli.Running first = _cli.Start($"worker --join {address} --token-file token");
        await first.SeenAsync("waiting for the coordinator");
        using Cli.Running server = _cli.Start($"server --join {address} --token-file token");
        using Cli.Running coordinator = _cli.Start($"coordinator job.yaml --listen {address} --token-file token --set cluster.workers=2 --set training.epochs=2 --json result.json");
        using Cli.Running second = _cli.Start($"worker --join {address} --token-file token");
        CliResult result = await coordinator.EndAsync();
        Assert.True(result.ExitCode == 0, result.ToString());
        foreach (Cli.Running member in (Cli.Running[])[first, second, server])
        {
            CliResult ended = await member.EndAsync();
            Assert.True(ended.ExitCode == 0, ended.ToString());
        }

        JsonElement json = _cli.Json("result.json");
        Assert.Equal((2, "shared-memory"), (json.GetProperty("workers").GetInt32(), json.GetProperty("channel").GetString()));
    }

    [Fact]
    public async Task Worker_WithAnotherToken_IsRefused()
    {
        _cli.File("token", "0123456789abcdef0123456789abcdef");
        _cli.File("other", "fedcba9876543210fedcba9876543210");
        _cli.File("job.yaml", "name: x\ndata: { name: digits }\nmodel: [flatten, {dense: 10}]\n");
        string address = FreeAddress();
        using Cli.Running coordinator = _cli.Start($"coordinator job.yaml --listen {address} --token-file token");
        await coordinator.SeenAsync(address);
        CliResult worker = await _cli.RunAsync($"worker --join {address} --token-file other");
        Assert.True(worker.ExitCode == 2, worker.ToString());
        Assert.Contains(address, worker.Error);
    }

    private static string FreeAddress()
    {
        using var probe = new System.Net.Sockets.TcpListener(System.Net.IPAddress.Loopback, 0);
        probe.Start();
        return probe.LocalEndpoint.ToString()!;
    }
}
