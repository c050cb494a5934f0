using System.Text.Json;
using DistTrain.Cli.Launching;
using DistTrain.Core;
using DistTrain.Jobs;

namespace DistTrain.Cli.Tests;

public sealed class CommandLineTests : IDisposable
{
    private readonly string _directory = Directory.CreateTempSubdirectory().FullName;
    private readonly StringWriter _out = new();
    private readonly StringWriter _error = new();
    private Job? _job;
    private bool _resume;
    private MemberOptions? _member;
    private CoordinatorOptions? _coordinator;

    public void Dispose() => Directory.Delete(_directory, recursive: true);

    [Theory]
    [InlineData("trian", "unknown command 'trian'; did you mean 'train'?")]
    [InlineData("--verbos", "unknown option '--verbos'; allowed: --help, --version")]
    [InlineData("", "a command is missing; there are: train, coordinator, server, worker, eval, inspect, bench, data (disttrain --help)")]
    [InlineData("train --worker 3", "train: unknown option '--worker'; did you mean '--workers'?")]
    [InlineData("train --workerss=3", "train: unknown option '--workerss'; did you mean '--workers'?")]
    [InlineData("train a.yaml b.yaml", "train: 'b.yaml' is one argument too many")]
    [InlineData("train --workers many", "train: --workers many: expected a whole number from 1 to 4096, or two such as 2:8")]
    [InlineData("train --verify 2", "train: --verify 2: expected a number from 0 to 1")]
    [InlineData("train --trace a --audit ./a", "--trace a: --audit writes to the same file")]
    [InlineData("train --workers 0", "train: --workers 0: expected a whole number from 1 to 4096, or two such as 2:8")]
    [InlineData("train --engine akka", "this build has no Akka.NET engine: build with -p:Akka=true")]
    [InlineData("train --engine aka", "--engine aka: unknown engine; did you mean 'akka'?")]
    [InlineData("train --in-process --set training.epoch=3", "--set: unknown key 'training.epoch'; did you mean 'epochs'?")]
    [InlineData("train nowhere.yaml", "nowhere.yaml: no such job file")]
    [InlineData("worker", "--join HOST:PORT is missing: the address where the coordinator listens")]
    [InlineData("bench kernels nosuch", "bench kernels: nothing has nosuch in its name; --list prints the names")]
    [InlineData("bench kernels --seconds 0", "--seconds: must be above 0 and at most 600")]
    [InlineData("bench train --core 100000", "--core: this machine has no core 100000")]
    [InlineData("worker --join somewhere", "--join somewhere: expected HOST:PORT, such as 10.0.0.5:5000")]
    [InlineData("worker --join 127.0.0.1:0", "--join 127.0.0.1:0: expected a port from 1 to 65535 after the colon")]
    [InlineData("worker --join ::1:5000", "--join ::1:5000: expected HOST:PORT; an IPv6 address stands in brackets, [::1]:5000")]
    [InlineData("worker --join 127.0.0.1:5 --join-timeout soon", "--join-timeout: expected a duration such as 500ms, 3s or 5 minutes, got 'soon'")]
    [InlineData("worker --join 127.0.0.1:5 --tls-ca /nowhere.pem", "--tls-ca /nowhere.pem: no such file")]
    [InlineData("worker --join 127.0.0.1:5 --token-file /nowhere", "--token-file /nowhere: can't be read: Could not find file '/nowhere'.")]
    [InlineData("train --in-process --json /nowhere/a.json", "--json /nowhere/a.json: there is no directory /nowhere")]
    [InlineData("train --in-process --trace a.json --json ./a.json", "--trace a.json: --json writes to the same file")]
    [InlineData("worker --join 127.0.0.1:5 --listen 127.0.0.1:0", "--listen: a worker listens only with --with-server")]
    [InlineData("worker --join 127.0.0.1:5 --mutual-tls", "--mutual-tls: a worker listens only with --with-server")]
    [InlineData("bench channel --seconds abc", "bench channel: --seconds abc: expected a number")]
    [InlineData("bench channel --seconds -1", "bench channel: unknown option '-1'; allowed: --bucket-bytes, --seconds, --connections, --json")]
    [InlineData("bench channel --bucket-bytes 99999999999", "bench channel: --bucket-bytes 99999999999: expected a whole number up to 2147483647")]
    public async Task Run_BadUsage_SaysWhatInOneLine(string line, string expected)
    {
        Assert.Equal(2, await RunAsync(line));
        Assert.Equal($"disttrain: {expected}{Environment.NewLine}", _error.ToString());
        Assert.Empty(_out.ToString());
    }

    [Theory]
    [InlineData("worker --join 10.0.0.1:5000", "--join 10.0.0.1:5000: the coordinator is on another machine")]
    [InlineData("worker --join 10.0.0.1:5000 --insecure --with-server", "--listen 127.0.0.1:0: workers on other machines can't reach this address")]
    [InlineData("server --join 10.0.0.1:5000 --insecure", "--listen 127.0.0.1:0: workers on other machines can't reach this address")]
    public async Task Run_UnsafeAddress_IsRefused(string line, string expected)
    {
        Assert.Equal(2, await RunAsync(line));
        Assert.StartsWith($"disttrain: {expected}", _error.ToString(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Bench_List_PrintsNamesAndMeasuresNothing()
    {
        Assert.Equal(0, await RunAsync("bench kernels gemm_32x32x32 --list"));
        Assert.Equal(["gemm_32x32x32_nn", "gemm_32x32x32_tn", "gemm_32x32x32_nt"], _out.ToString().Split(Environment.NewLine, StringSplitOptions.RemoveEmptyEntries));
    }

    [Fact]
    public async Task Bench_Json_HoldsOurFigureAndThePeers()
    {
        string file = Path.Combine(_directory, "bench.json");
        Assert.Equal(0, await RunAsync($"bench kernels gemm_32x32x32_nn --seconds 0.01 --no-pytorch --no-pin --json {file}"));
        JsonElement result = JsonDocument.Parse(File.ReadAllText(file)).RootElement.GetProperty("results").EnumerateArray().Single(r => r.GetProperty("peer").GetString() == "fma_peak");
        Assert.Equal("gemm_32x32x32_nn", result.GetProperty("name").GetString());
        Assert.Equal("GFLOP/s", result.GetProperty("unit").GetString());
        Assert.True(result.GetProperty("value").GetDouble() > 0);
        Assert.True(result.GetProperty("peer_value").GetDouble() > 0);
        Assert.True(result.GetProperty("ratio").GetDouble() > 0);
    }

    [Fact]
    public async Task Coordinator_SecurityOptions_AreHandedOn()
    {
        string pem = Write("x.pem", "pem");
        string token = Write("token", new string('t', 32) + "\n");
        Assert.Equal(0, await RunAsync($"coordinator --listen 0.0.0.0:5000 --tls-cert {pem} --tls-key {pem} --tls-ca {pem} --mutual-tls --token-file {token}"));
        Assert.Equal(
            new NetworkOptions { CertificateFile = pem, KeyFile = pem, CaFile = pem, MutualTls = true, Token = new string('t', 32), Listen = "0.0.0.0:5000" },
            _coordinator!.Network);
        Assert.Equal(0, await RunAsync("coordinator --listen 0.0.0.0:5000 --insecure"));
        Assert.True(_coordinator.Network.Insecure);
    }

    [Theory]
    [InlineData("coordinator --listen 0.0.0.0:0")]
    [InlineData("server --join 127.0.0.1:5 --listen 0.0.0.0:0")]
    public async Task Listen_BeyondThisMachineInTheClear_IsRefused(string line)
    {
        Assert.Equal(2, await App.RunAsync(Words(line), new CliContext { Out = _out, Error = _error }));
        Assert.Contains("0.0.0.0:0", _error.ToString(), StringComparison.Ordinal);
        Assert.Contains("--insecure", _error.ToString(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task TokenFile_TooShort_IsRefused()
    {
        Assert.Equal(2, await RunAsync($"worker --join 127.0.0.1:5 --token-file {Write("token", "secret")}"));
        Assert.Contains("holds 6 characters; expected 16 to 1024", _error.ToString(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Server_Addresses_AreHandedOn()
    {
        Assert.Equal(0, await RunAsync("server --join [2001:db8::1]:5000 --listen 0.0.0.0:6000 --advertise box --insecure --join-timeout 5m"));
        Assert.Equal(("box", "[2001:db8::1]:5000", "0.0.0.0:6000", TimeSpan.FromMinutes(5)), (_member!.Network.Advertise, _member.Network.Join, _member.Network.Listen, _member.Network.JoinTimeout));
    }

    [Fact]
    public async Task Worker_WithoutServer_NeedsNoAddressOfItsOwn()
    {
        Assert.Equal(0, await RunAsync("worker --join 10.0.0.1:5000 --insecure"));
        Assert.Equal(("10.0.0.1:5000", false), (_member!.Network.Join, _member.WithServer));
        Assert.Equal(0, await RunAsync("worker --join 10.0.0.1:5000 --insecure --with-server --listen 0.0.0.0:6000"));
        Assert.Equal(("0.0.0.0:6000", true), (_member.Network.Listen, _member.WithServer));
    }

    [Fact]
    public async Task Worker_Threads_AreItsOwnOrAllCores()
    {
        Assert.Equal(0, await RunAsync("worker --join 127.0.0.1:5 --threads 3"));
        Assert.Equal(3, _member!.Threads);
        Assert.Equal(0, await RunAsync("worker --join 127.0.0.1:5"));
        Assert.Equal((Environment.ProcessorCount, null), (_member.Threads, _member.Cores));
        Assert.Equal(0, await RunAsync("worker --join 127.0.0.1:5 --cores 0-3,6"));
        Assert.Equal("0-3,6", _member.Cores);
    }

    [Fact]
    public async Task Train_Options_ChangeTheJob()
    {
        Assert.Equal(0, await RunAsync("train --in-process --workers 7 --servers 3 --threads 2 --cores 0-13 --set training.epochs=4 --set seed=9 --resume"));
        Assert.Equal((7, "0-13", 3, 2, 4, 9UL, true), (_job!.Cluster.Workers, _job.Cluster.Cores, _job.Cluster.Servers, _job.Cluster.Threads, _job.Training.Epochs, _job.Seed, _resume));
    }

    [Fact]
    public async Task Train_Json_HoldsTheResult()
    {
        string file = Path.Combine(_directory, "a.json");
        Assert.Equal(0, await RunAsync($"train --in-process --json {file}"));
        JsonElement json = Read(file);
        Assert.Equal((7, 0, JsonValueKind.Null), (json.GetProperty("steps").GetInt32(), json.GetProperty("exit_code").GetInt32(), json.GetProperty("test_accuracy").ValueKind));
        foreach (string field in "steps epochs examples train_loss test_loss test_accuracy weights_sha256 samples_per_second step_ms_median wall_seconds workers servers shards channel failures checkpoint numerics_revision error".Split(' '))
        {
            Assert.True(json.TryGetProperty(field, out _), field);
        }

        Assert.Equal(["a.json"], Directory.GetFiles(_directory).Select(Path.GetFileName));
    }

    [Theory]
    [InlineData("train nowhere.yaml --json {0}", "nowhere.yaml: no such job file")]
    [InlineData("train --json={0} --bogus-option", "train: unknown option '--bogus-option'")]
    [InlineData("worker --json {0}", "--join HOST:PORT is missing")]
    public async Task Run_Fails_JsonSaysWhy(string line, string expected)
    {
        string file = Path.Combine(_directory, "a.json");
        Assert.Equal(2, await RunAsync(string.Format(line, file)));
        JsonElement json = Read(file);
        Assert.Equal(2, json.GetProperty("exit_code").GetInt32());
        Assert.StartsWith(expected, json.GetProperty("error").GetString(), StringComparison.Ordinal);
        Assert.Equal(line.StartsWith("train", StringComparison.Ordinal), json.TryGetProperty("weights_sha256", out _));
    }

    [Fact]
    public async Task Run_UnexpectedException_IsAnInternalErrorWithoutTrace()
    {
        Assert.Equal(1, await RunAsync("train --in-process", _ => throw new InvalidOperationException("boom")));
        Assert.Equal($"disttrain: internal error: InvalidOperationException: boom (DISTTRAIN_TRACE=1 shows where){Environment.NewLine}", _error.ToString());
    }

    [Fact]
    public async Task Run_FailedResult_GivesItsErrorAndCode()
    {
        Assert.Equal(5, await RunAsync("train --in-process", job => new TrainResult { Name = job.Name, ExitCode = 5, Error = "training diverged: 0.weight has a NaN" }));
        Assert.Equal($"disttrain: training diverged: 0.weight has a NaN{Environment.NewLine}", _error.ToString());
    }

    [Fact]
    public async Task Train_Interrupted_TellsHowToGoOn()
    {
        Assert.Equal(130, await RunAsync("train --in-process --set 'data={ name: digits }'", job => new TrainResult { ExitCode = 130, Checkpoint = "runs/digits/step-12" }));
        Assert.Contains("To go on from there: disttrain train --set 'data={ name: digits }' --resume", _out.ToString(), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("--help")]
    [InlineData("train --help")]
    [InlineData("coordinator --help")]
    [InlineData("worker --help")]
    [InlineData("server --help")]
    public async Task Help_AnyCommand_ShowsNothingHidden(string line)
    {
        Assert.Equal(0, await RunAsync(line));
        Assert.DoesNotContain("lifeline", _out.ToString(), StringComparison.Ordinal);
        Assert.Contains("Usage:", _out.ToString(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Version_Asked_IsOneLine()
    {
        Assert.Equal(0, await RunAsync("--version"));
        Assert.Matches("^disttrain [0-9.]+ \\(.NET [0-9.]+\\)\\s*$", _out.ToString());
    }

    private Task<int> RunAsync(string line, Func<Job, TrainResult>? train = null)
    {
        _out.GetStringBuilder().Clear();
        _error.GetStringBuilder().Clear();
        var runners = new Runners(
            (job, options, _, _) => (_coordinator = options, Task.FromResult(new TrainResult { Name = job.Name })).Item2,
            (options, _) => (_member = options, Task.FromResult(ExitCode.Done)).Item2,
            (options, _) => (_member = options, Task.FromResult(ExitCode.Done)).Item2,
            (job, resume, _, _, _) =>
            {
                (_job, _resume) = (job, resume);
                return Task.FromResult(train?.Invoke(job) ?? new TrainResult { Name = job.Name, Steps = 7, WallSeconds = 1 });
            });
        return App.RunAsync(Words(line), new CliContext { Out = _out, Error = _error, Runners = runners, Executable = new OwnExecutable("/nonexistent", []) });
    }

    // Words as a shell cuts them, with single quotes.
    private static string[] Words(string line) => [.. line.Split('\'').SelectMany((part, i) => i % 2 == 1 ? [part] : part.Split(' ', StringSplitOptions.RemoveEmptyEntries))];

    private string Write(string name, string text)
    {
        string file = Path.Combine(_directory, name);
        File.WriteAllText(file, text);
        return file;
    }

    private static JsonElement Read(string file) => JsonDocument.Parse(File.ReadAllText(file)).RootElement;
}
