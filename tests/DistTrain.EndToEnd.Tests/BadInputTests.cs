namespace DistTrain.EndToEnd.Tests;

/// <summary>Bad input is one or two lines on stderr that name the culprit, and DESIGN's exit code.</summary>
public sealed class BadInputTests : IDisposable
{
    private readonly Cli _cli = new();

    public void Dispose() => _cli.Dispose();

    private async Task Refused(string arguments, int exitCode, params string[] named)
    {
        CliResult result = await _cli.RunAsync(arguments);
        Assert.True(result.ExitCode == exitCode, result.ToString());
        string[] lines = result.Error.Split('\n', StringSplitOptions.RemoveEmptyEntries);
        Assert.True(lines.Length is 1 or 2, result.ToString());
        Assert.DoesNotMatch(@"^\s+at ", result.Error);
        foreach (string name in named) Assert.Contains(name, result.Error);
    }

    [Fact]
    public Task Job_WithAnUnknownKey_IsRefusedWithTheNearest()
    {
        _cli.File("job.yaml", "name: x\ndata: { name: digits }\nmodel:\n  - dense: 10\noptimizer:\n  adam: { learning_rat: 1e-3 }\n");
        return Refused("train job.yaml", 2, "job.yaml:6", "optimizer.adam.learning_rat", "learning_rate");
    }

    [Fact]
    public Task Job_WithAWrongType_IsRefusedByKey()
    {
        _cli.File("job.yaml", "name: x\ndata: { name: digits }\nmodel: [flatten, {dense: 10}]\nbatch: { size: many }\n");
        return Refused("train job.yaml --in-process", 2, "job.yaml:4", "batch.size", "'many'");
    }

    [Fact]
    public Task Job_WithoutAModel_IsRefused()
    {
        _cli.File("job.yaml", "name: x\ndata: { name: digits }\n");
        return Refused("train job.yaml", 2, "job.yaml", "model");
    }

    [Fact]
    public Task Job_ThatIsNotThere_IsRefused() => Refused("train nothing.yaml", 2, "nothing.yaml");

    [Fact]
    public Task Option_Misspelt_IsRefusedWithTheNearest() => Refused("train --worker 3", 2, "--workers");

    [Fact]
    public Task Csv_WithARaggedRow_IsRefusedByFileAndLine()
    {
        _cli.File("data.csv", "a,b,label\n1,2,0\n3,4,1\n5,6\n");
        _cli.File("job.yaml", "name: x\ndata: { path: data.csv, header: true, label: label, test_fraction: 0 }\nmodel: [{dense: 2}]\n");
        return Refused("train job.yaml", 3, "data.csv:4");
    }

    [Fact]
    public Task Csv_WithALabelOutOfRange_IsRefusedByFileAndLine()
    {
        _cli.File("data.csv", "1,2,0\n3,4,7\n");
        _cli.File("job.yaml", "name: x\ndata: { path: data.csv, header: false, classes: 3, test_fraction: 0 }\nmodel: [{dense: 3}]\n");
        return Refused("train job.yaml --in-process", 3, "data.csv", "7");
    }

    [Fact]
    public Task Idx_ThatIsTruncated_IsRefusedByFile()
    {
        string folder = Path.Combine(_cli.Folder, "mnist");
        Directory.CreateDirectory(folder);
        foreach (string set in (string[])["train", "t10k"])
        {
            File.WriteAllBytes(Path.Combine(folder, $"{set}-images-idx3-ubyte"), [0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 2, 0, 0, 0, 2, 1, 2, 3, 4, 5]);
            File.WriteAllBytes(Path.Combine(folder, $"{set}-labels-idx1-ubyte"), [0, 0, 8, 1, 0, 0, 0, 2, 0, 1]);
        }

        _cli.File("job.yaml", "name: x\ndata: { name: mnist, path: mnist }\nmodel: [flatten, {dense: 10}]\n");
        return Refused("train job.yaml", 3, "train-images-idx3-ubyte");
    }

    [Fact]
    public async Task Port_InUse_IsRefused()
    {
        using var listener = new System.Net.Sockets.TcpListener(System.Net.IPAddress.Loopback, 0);
        listener.Start();
        string address = listener.LocalEndpoint.ToString()!;
        _cli.File("job.yaml", "name: x\ndata: { name: digits }\nmodel: [flatten, {dense: 10}]\n");
        await Refused($"coordinator job.yaml --listen {address}", 2, address, "in use");
    }

    [Fact]
    public Task Worker_WithNobodyToJoin_SaysHowLongItWaitedForWhom() =>
        Refused("worker --join 127.0.0.1:9 --join-timeout 400ms", 4, "waited", "127.0.0.1:9");

    [Fact]
    public Task Coordinator_ThatNobodyJoins_SaysHowLongItWaitedForWhom()
    {
        _cli.File("job.yaml", "name: x\ndata: { name: digits }\nmodel: [flatten, {dense: 10}]\n");
        return Refused("coordinator job.yaml --listen 127.0.0.1:0 --join-timeout 400ms", 4, "4 of 4 workers");
    }

    [Fact]
    public async Task Checkpoint_WithAFlippedByte_IsRefusedByFile()
    {
        await _cli.TrainAsync("--in-process --set training.epochs=1");
        string file = Path.Combine(Directory.GetDirectories(Path.Combine(_cli.Folder, "runs", "digits"))[0], "model.safetensors");
        byte[] bytes = File.ReadAllBytes(file);
        bytes[^5] ^= 4;
        File.WriteAllBytes(file, bytes);
        CliResult result = await _cli.RunAsync("eval runs/digits");
        Assert.True(result.ExitCode == 3, result.ToString());
        Assert.Contains("model.safetensors", result.Error);
        Assert.Matches("SHA-256|damaged", result.Error);
    }

    [Fact]
    public async Task Resume_FromAnotherModel_SaysWhichTensorsDiffer()
    {
        await _cli.TrainAsync("--in-process --set training.epochs=1");
        _cli.File("job.yaml", "name: digits\ndata: { name: digits }\nmodel: [flatten, {dense: 10}]\ncheckpoint: { path: runs/digits }\n");
        await Refused("train job.yaml --in-process --resume", 3, "1.weight");
    }

    [Fact]
    public async Task Resume_BeyondTheEnd_SaysWhichSteps()
    {
        await _cli.TrainAsync("--in-process --set training.max_steps=20");
        await Refused("train --in-process --resume --set training.max_steps=10", 2, "step 20", "step 10");
    }

    [Fact]
    public async Task Resume_AtTheEnd_EvaluatesAndEnds()
    {
        string sha = (await _cli.TrainAsync("--in-process --set training.max_steps=20")).GetProperty("weights_sha256").GetString()!;
        System.Text.Json.JsonElement again = await _cli.TrainAsync("--workers 2 --resume --set training.max_steps=20");
        Assert.Equal(sha, again.GetProperty("weights_sha256").GetString());
        Assert.True(again.GetProperty("test_accuracy").GetDouble() > 0.2);
    }

    [Fact]
    public Task Resume_OfNothing_SaysWhereItLooked() => Refused("train --in-process --resume", 3, Path.Combine("runs", "digits"));

    [Fact]
    public async Task Divergence_OfTheLoss_EndsWithItsOwnCode()
    {
        CliResult result = await _cli.RunAsync("train --in-process --set optimizer.adam.learning_rate=1e30");
        Assert.True(result.ExitCode == 5, result.ToString());
        Assert.Matches("step [0-9]+", result.Error);
    }
}
