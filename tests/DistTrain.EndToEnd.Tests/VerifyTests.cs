using System.Text.Json;

namespace DistTrain.EndToEnd.Tests;

/// <summary>A worker that computes wrong is found, named and done without.</summary>
public sealed class VerifyTests : IDisposable
{
    private readonly Cli _cli = new();

    public void Dispose() => _cli.Dispose();

    [Fact]
    public async Task Worker_ThatFlipsABit_IsNamedAndLeavesNoTrace()
    {
        JsonElement undisturbed = await _cli.TrainAsync("--in-process --workers 1 --set training.epochs=10 --set checkpoint.path=runs/one");
        using Cli.Running coordinator = _cli.Start("coordinator --listen 127.0.0.1:0 --workers 3 --servers 1 --verify 1 --set training.epochs=10 --set checkpoint.every=10 --set checkpoint.path=runs/two --json verified.json --audit audit.jsonl");
        string address = await coordinator.AddressAsync();
        using Cli.Running server = _cli.Start($"server --join {address}");
        using Cli.Running first = _cli.Start($"worker --join {address}");
        using Cli.Running second = _cli.Start($"worker --join {address}");
        using Cli.Running third = _cli.Start($"worker --join {address}", ("DISTTRAIN_FAULTS", "flip=45"));

        CliResult result = await coordinator.EndAsync();

        Assert.True(result.ExitCode == 0, result.ToString());
        CliResult wrong = await third.EndAsync();
        Assert.Equal(1, wrong.ExitCode);
        Assert.Contains("of step 45 wrong: bucket 0 differs from what worker", wrong.Error, StringComparison.Ordinal);
        JsonElement json = _cli.Json("verified.json");
        Assert.Equal(undisturbed.GetProperty("weights_sha256").GetString(), json.GetProperty("weights_sha256").GetString());
        JsonElement failure = Assert.Single(json.GetProperty("failures").EnumerateArray());
        Assert.Equal(third.Pid, failure.GetProperty("pid").GetInt32());
        Assert.True(json.GetProperty("unequal_shards").GetInt64() > 0);
        Assert.True(json.GetProperty("verified_shards").GetInt64() > 0);
        Assert.Null(Chaos.AuditCheck.Fault(Path.Combine(_cli.Folder, "audit.jsonl"), json.GetProperty("steps").GetInt64(), json.GetProperty("train_examples").GetInt64()));
    }
}
