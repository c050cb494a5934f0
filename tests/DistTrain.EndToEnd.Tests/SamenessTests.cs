using System.Text.Json;

namespace DistTrain.EndToEnd.Tests;

/// <summary>Invariant I1 over real processes: one job, one SHA-256, whatever computes it.</summary>
public sealed class SamenessTests : IDisposable
{
    // The default job's bits since numerics revision 2. A change here is a change of somebody's kernels: raise
    // NumericsRevision.Current, and only then write the new value.
    internal const string DefaultJob = "97c356a2b7a74f4008815ee1642399dad9e5ff75a6cdb04f5ac665f33055d476";

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
    [InlineData("--workers 3 --servers 2 --set cluster.channel=grpc --set cluster.connections=3 --set cluster.bucket_length=4096")]
    [InlineData("--workers 1 --cores auto")]
    [InlineData("--in-process --workers 1 --cores auto")]
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

    // Batch norm's shards and buffers, dropout's keyed masks, branches, decay by groups, and a clip that all servers decide.
    [Fact]
    public async Task ImageNetwork_OnAnyCluster_HasTheSameBits()
    {
        string job = _cli.File("images.yaml", """
            data: { name: digits }
            model:
              - conv: { out: 8, kernel: 3, padding: 1 }
              - batch_norm
              - relu
              - max_pool: 2
              - residual: [conv: { out: 8, kernel: 3, padding: 1 }, batch_norm]
              - relu
              - dropout: 0.1
              - flatten
              - dense: 10
            optimizer: { adamw: { learning_rate: 3e-3, decay_biases: false } }
            batch: { size: 50 }
            training: { max_steps: 31, clip_norm: 1 }
            checkpoint: { path: runs/images }
            """);
        string expected = Sha(await _cli.TrainAsync($"{job} --in-process --workers 1"));
        Assert.Equal(expected, Sha(await _cli.TrainAsync($"{job} --workers 3 --servers 2")));
        Assert.Equal(expected, Sha(await _cli.TrainAsync($"{job} --in-process --workers 2 --servers 3", ("DISTTRAIN_SIMD", "128"))));
        // Parts of the network computed twice, to save memory.
        Assert.Equal(expected, Sha(await _cli.TrainAsync($"{job} --in-process --workers 2 --set training.memory=440kB")));
    }

    // Values, segments and weights in 16 bits; fp16 skips its first steps, whose scaled gradients overflow.
    [Theory]
    [InlineData("bf16")]
    [InlineData("fp16")]
    public async Task HalfPrecision_OnAnyCluster_HasTheSameBitsAndLearns(string precision)
    {
        string job = $"--set training.precision={precision} --set training.max_steps=150 --set batch.size=100 --set checkpoint.path=runs/half";
        JsonElement one = await _cli.TrainAsync($"--in-process --workers 1 {job}");
        Assert.True(one.GetProperty("test_accuracy").GetDouble() > 0.9);
        CliResult eval = await _cli.RunAsync("eval runs/half --json eval.json");
        Assert.True(eval.ExitCode == 0, eval.ToString());
        Assert.Equal(one.GetProperty("test_loss").GetDouble(), _cli.Json("eval.json").GetProperty("test_loss").GetDouble());
        Assert.Equal(Sha(one), Sha(await _cli.TrainAsync($"--in-process --workers 3 --servers 2 {job}", ("DISTTRAIN_SIMD", "256"))));
        Assert.Equal(Sha(one), Sha(await _cli.TrainAsync($"--workers 2 --servers 3 {job}")));
        Assert.Equal(Sha(one), Sha(await _cli.TrainAsync($"--in-process --workers 2 {job} --set batch.micro_size=20")));
    }

    // Rounded at every node of the tree, at random but by key; whatever the channel, and through a stop.
    [Theory]
    [InlineData("int8", "fp32")]
    [InlineData("int8", "bf16")]
    [InlineData("fp16", "bf16")]
    public async Task Wire_OnAnyClusterAndChannel_HasTheSameBits(string gradients, string weights)
    {
        string job = $"{Small} --set wire.gradients={gradients} --set wire.weights={weights}";
        JsonElement one = await _cli.TrainAsync($"--in-process --workers 1 {job}");
        Assert.Equal(Sha(one), Sha(await _cli.TrainAsync($"--workers 3 --servers 2 {job}", ("DISTTRAIN_SIMD", "256"))));
        Assert.Equal(Sha(one), Sha(await _cli.TrainAsync($"--workers 2 --channel grpc {job}")));
        CliResult eval = await _cli.RunAsync("eval runs/small --json eval.json");
        Assert.True(eval.ExitCode == 0, eval.ToString());
        Assert.Equal(one.GetProperty("test_loss").GetDouble(), _cli.Json("eval.json").GetProperty("test_loss").GetDouble());
        await _cli.TrainAsync($"--workers 2 {job} --set training.max_steps=17");
        Assert.Equal(Sha(one), Sha(await _cli.TrainAsync($"--in-process --workers 3 {job} --resume")));
    }

    // Nothing is held back at a version that is saved, so a stop there leaves no trace; and less travels.
    [Fact]
    public async Task TopK_ResumedByAsManyWorkers_HasTheBitsOfAnUnbrokenRun()
    {
        const string TopK = Small + " --set wire.gradients.top_k=0.02 --set checkpoint.every=10";
        JsonElement whole = await _cli.TrainAsync($"--workers 2 {TopK}");
        await _cli.TrainAsync($"--in-process --workers 2 {TopK} --set training.max_steps=20");
        JsonElement resumed = await _cli.TrainAsync($"--workers 2 --servers 2 --channel grpc {TopK} --resume");
        Assert.Equal(40, resumed.GetProperty("steps").GetInt64());
        Assert.Equal(Sha(whole), Sha(resumed));
        JsonElement exact = await _cli.TrainAsync($"--workers 2 {Small}");
        double pushed = exact.GetProperty("pushed_bytes_per_step").GetDouble(), broadcast = exact.GetProperty("broadcast_bytes_per_step").GetDouble();
        Assert.InRange(whole.GetProperty("pushed_bytes_per_step").GetDouble(), 0.05 * pushed, 0.2 * pushed);
        Assert.InRange(broadcast, 0.7 * pushed, 1.3 * pushed);
    }

    [Fact]
    public async Task Int8_OfGradientsThatAreNotFinite_EndsAsDiverged()
    {
        CliResult result = await _cli.RunAsync("train --in-process --workers 2 --set wire.gradients=int8 --set optimizer.adam.learning_rate=1e30 --set checkpoint.path=runs/lost");
        Assert.True(result.ExitCode == 5, result.ToString());
    }

    // A small attention network over the rows of the images.
    [Fact]
    public async Task RowNetwork_OnAnyCluster_HasTheSameBits()
    {
        string job = _cli.File("rows.yaml", """
            data: { name: digits }
            model:
              - reshape: [8, 8]
              - dense: 16
              - positions: learned
              - transformer_block: { heads: 2 }
              - lstm: { hidden: 12, return: last }
              - dense: 10
            batch: { size: 50 }
            training: { max_steps: 31 }
            checkpoint: { path: runs/rows }
            """);
        string expected = Sha(await _cli.TrainAsync($"{job} --in-process --workers 1"));
        Assert.Equal(expected, Sha(await _cli.TrainAsync($"{job} --workers 2 --servers 2")));
        Assert.Equal(expected, Sha(await _cli.TrainAsync($"{job} --in-process --workers 3", ("DISTTRAIN_SIMD", "256"))));
    }

    // Evaluations are of the weights' averages, which servers send beside the weights.
    [Fact]
    public async Task WeightAverages_OnAnyCluster_AreEvaluatedTheSame()
    {
        const string Averaged = Small + " --set training.ema=0.9";
        JsonElement one = await _cli.TrainAsync($"--in-process --workers 1 {Averaged}");
        foreach (string cluster in (string[])["--workers 3 --servers 2", "--workers 2"])
        {
            JsonElement other = await _cli.TrainAsync($"{cluster} {Averaged}");
            Assert.Equal(Sha(one), Sha(other));
            Assert.Equal(one.GetProperty("test_loss").GetDouble(), other.GetProperty("test_loss").GetDouble());
        }

        Assert.NotEqual(await SmallAsync(), Sha(one));
        CliResult result = await _cli.RunAsync("eval runs/small --json evaluated.json");
        Assert.True(result.ExitCode == 0, result.ToString());
        JsonElement evaluated = _cli.Json("evaluated.json");
        Assert.Equal(Sha(one), Sha(evaluated));
        Assert.Equal(one.GetProperty("test_loss").GetDouble(), evaluated.GetProperty("test_loss").GetDouble());
        // Broken off, and gone on with by another cluster.
        await _cli.TrainAsync($"--workers 2 {Averaged} --set training.max_steps=17");
        Assert.Equal(Sha(one), Sha(await _cli.TrainAsync($"--in-process --workers 3 --servers 2 {Averaged} --resume")));
    }

    // What is seen of gradients comes along the tree too.
    [Fact]
    public async Task Watching_OnAnyCluster_SeesTheSame()
    {
        JsonElement one = await _cli.TrainAsync("--in-process --workers 1 --set training.watch_every=60");
        foreach (string cluster in (string[])["--in-process --workers 3 --servers 2", "--workers 2 --servers 3"])
        {
            JsonElement other = await _cli.TrainAsync($"{cluster} --set training.watch_every=60");
            Assert.Equal(one.GetProperty("gradient_norm").GetDouble(), other.GetProperty("gradient_norm").GetDouble());
            Assert.Equal(one.GetProperty("gradient_norms").GetRawText(), other.GetProperty("gradient_norms").GetRawText());
            Assert.Equal(one.GetProperty("gradient_noise_scale").GetDouble(), other.GetProperty("gradient_noise_scale").GetDouble());
            Assert.Equal(DefaultJob, Sha(other));
        }

        Assert.True(one.GetProperty("gradient_norm").GetDouble() > 0);
        Assert.True(one.GetProperty("gradient_noise_scale").GetDouble() > 0);
        Assert.Equal(JsonValueKind.Null, (await _cli.TrainAsync("--in-process --set training.watch_every=0")).GetProperty("gradient_norm").ValueKind);
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
