using System.Text.Json;

namespace DistTrain.EndToEnd.Tests;

/// <summary>Invariant I1 over real processes: one job, one SHA-256, whatever computes it.</summary>
public sealed class SamenessTests : IDisposable
{
    // The default job's bits under numerics revision 2. A change here is a change of somebody's kernels: raise
    // NumericsRevision.Current, and only then write the new value.
    private const string DefaultJob = "97c356a2b7a74f4008815ee1642399dad9e5ff75a6cdb04f5ac665f33055d476";

    // Small, because software FMA is slow; batch 50 in 8 shards is uneven, and the last mini-batch of an epoch is short.
    private const string Small = "--set batch.size=50 --set training.max_steps=40 --set checkpoint.path=runs/small";

    private static string? _small;

    private readonly Cli _cli = new();

    public void Dispose() => _cli.Dispose();

    private static string Sha(JsonElement result) => result.GetProperty("weights_sha256").GetString()!;

    private async Task<string> SmallAsync()
    {
        if (_small is null)
        {
            using var cli = new Cli();
            _small = Sha(await cli.TrainAsync($"--in-process --workers 1 {Small}"));
        }

        return _small;
    }

    [Theory]
    [InlineData("")]
    [InlineData("--workers 1")]
    [InlineData("--workers 2")]
    [InlineData("--workers 3")]
    [InlineData("--workers 5")]
    [InlineData("--workers 8")]
    [InlineData("--in-process")]
    [InlineData("--in-process --workers 3 --servers 3")]
    [InlineData("--workers 2 --servers 3")]
    [InlineData("--workers 2 --threads 2")]
    [InlineData("--workers 2 --set cluster.bucket_length=4096")]
    public async Task DefaultJob_OnAnyCluster_HasTheFrozenBits(string arguments)
    {
        JsonElement result = await _cli.TrainAsync(arguments);
        Assert.Equal(DefaultJob, Sha(result));
        Assert.True(result.GetProperty("test_accuracy").GetDouble() >= 0.97);
    }

    [Theory]
    [InlineData("DISTTRAIN_SIMD", "512")]
    [InlineData("DISTTRAIN_SIMD", "256")]
    [InlineData("DISTTRAIN_SIMD", "128")]
    [InlineData("DISTTRAIN_SIMD", "scalar")]
    public async Task DefaultJob_AtAnySimdWidth_HasTheFrozenBits(string variable, string value)
    {
        Assert.Equal(DefaultJob, Sha(await _cli.TrainAsync("--workers 2", (variable, value))));
    }

    [Theory]
    [InlineData("DOTNET_EnableAVX512", "0")]
    [InlineData("DOTNET_EnableAVX2", "0")]
    [InlineData("DOTNET_EnableHWIntrinsic", "0")]
    public async Task SmallJob_WithInstructionSetsOff_HasTheSameBits(string variable, string value)
    {
        Assert.Equal(await SmallAsync(), Sha(await _cli.TrainAsync($"--workers 2 {Small}", (variable, value))));
    }

    [Fact]
    public async Task SmallJob_OnMoreWorkersThanShards_HasTheSameBits()
    {
        Assert.Equal(await SmallAsync(), Sha(await _cli.TrainAsync($"--in-process --workers 11 {Small}")));
    }

    [Fact]
    public async Task Resume_InTheMiddleOfAnEpoch_HasTheBitsOfAnUnbrokenRun()
    {
        // 17 of 29 steps into the first epoch, on another cluster than the rest.
        await _cli.TrainAsync($"--workers 2 {Small} --set training.max_steps=17");
        JsonElement resumed = await _cli.TrainAsync($"--workers 3 --servers 2 {Small} --resume");
        Assert.Equal(40, resumed.GetProperty("steps").GetInt64());
        Assert.Equal(await SmallAsync(), Sha(resumed));
    }

    [Fact]
    public async Task Worker_KilledInTheMiddle_LeavesTheSameBits()
    {
        if (!OperatingSystem.IsLinux()) return;
        const string Long = "--set batch.size=50 --set training.max_steps=3000 --set training.epochs=200 --set checkpoint.path=runs/long";
        string expected = Sha(await _cli.TrainAsync($"--in-process --workers 1 {Long}"));
        using Cli.Running run = _cli.Start($"train --workers 3 {Long} --json killed.json");
        await run.SeenAsync("after ");
        int worker = run.Children().First(pid => File.ReadAllText($"/proc/{pid}/cmdline").Contains("\0worker\0", StringComparison.Ordinal));
        Cli.Kill(worker, "KILL");
        CliResult result = await run.EndAsync();
        Assert.True(result.ExitCode == 0, result.ToString());
        JsonElement json = _cli.Json("killed.json");
        Assert.Equal(expected, Sha(json));
        JsonElement failure = Assert.Single(json.GetProperty("failures").EnumerateArray());
        Assert.Equal(worker, failure.GetProperty("pid").GetInt32());
    }
}
