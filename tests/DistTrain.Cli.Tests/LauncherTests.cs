using System.Diagnostics;
using System.Runtime.InteropServices;
using System.Text.Json;

namespace DistTrain.Cli.Tests;

/// <summary>
/// <c>train</c> as it is, with all its processes, over roles that only wait for each other. Signals are sent to real
/// pids, and a process counts as gone when the system says so.
/// </summary>
public sealed class LauncherTests : IDisposable
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(60);

    private readonly string _directory = Directory.CreateTempSubdirectory().FullName;
    private readonly List<Process> _started = [];

    private string Pids => Path.Combine(_directory, "pids");

    private string Json => Path.Combine(_directory, "result.json");

    public void Dispose()
    {
        foreach (Process process in _started)
        {
            if (!process.HasExited) process.Kill(entireProcessTree: true);
            process.Dispose();
        }

        Directory.Delete(_directory, recursive: true);
    }

    [Fact]
    public async Task Train_AllGoesWell_EndsWithTheResultAndNoProcess()
    {
        (int code, string output, string error) = await RunAsync("finish", "--workers", "3", "--servers", "2");
        Assert.Equal((0, ""), (code, error));
        Assert.Contains("3 workers, 2 parameter servers", output, StringComparison.Ordinal);
        Assert.Equal(100, JsonDocument.Parse(await File.ReadAllTextAsync(Json)).RootElement.GetProperty("steps").GetInt32());
        List<int> pids = ReadPids();
        Assert.Equal(6, pids.Count);
        await AssertGoneAsync(pids);
    }

    [Fact]
    public async Task Train_BadJobFile_StartsNothing()
    {
        (int code, string _, string error) = await RunAsync("finish", "--set", "seed=x");
        Assert.Equal((2, "disttrain: --set: seed: expected a whole number from 0 to 18446744073709551615, got 'x'"), (code, error.Trim()));
        Assert.False(File.Exists(Pids));
    }

    [Fact]
    public async Task Train_WorkersEndBeforeJoining_SaysWhichAndWhy()
    {
        (int code, string output, string error) = await RunAsync("finish", worker: "die");
        Assert.Equal(3, code);
        Assert.Matches("worker \\(pid [0-9]+\\) \\| disttrain: a.csv:3: bad on purpose", output);
        Assert.Matches("^disttrain: worker \\(pid [0-9]+\\) ended with exit code 3, before training began$", error.Trim());
        Assert.Equal(3, JsonDocument.Parse(await File.ReadAllTextAsync(Json)).RootElement.GetProperty("exit_code").GetInt32());
    }

    [Fact]
    public async Task Train_CoordinatorThrows_EndsAll()
    {
        (int code, string _, string error) = await RunAsync("crash");
        Assert.Equal(1, code);
        Assert.Equal("disttrain: internal error: InvalidDataException: crashed on purpose (DISTTRAIN_TRACE=1 shows where)", error.Trim());
        await AssertGoneAsync(ReadPids());
    }

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(15)]
    public async Task Train_Signal_StopsAndSaysHowToResume(int signal)
    {
        if (OperatingSystem.IsWindows()) return;
        Process launcher = Start("run");
        List<int> pids = await WaitForPidsAsync();
        Signal(launcher.Id, signal);
        (int code, string output, _) = await EndAsync(launcher);
        Assert.Equal(130, code);
        Assert.Contains("To go on from there: disttrain train --resume", output, StringComparison.Ordinal);
        await AssertGoneAsync(pids);
    }

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(15)]
    public async Task Train_SignalToAllAtOnce_StillSaves(int signal)
    {
        if (OperatingSystem.IsWindows()) return;
        Process launcher = Start("run");
        List<int> pids = await WaitForPidsAsync();
        // As 'timeout' and a closing terminal do it, in the worst order.
        foreach (int pid in pids) Signal(pid, signal);
        Signal(launcher.Id, signal);
        (int code, string output, _) = await EndAsync(launcher);
        Assert.Equal(130, code);
        Assert.Contains("The model is saved in runs/x/step-1", output, StringComparison.Ordinal);
        await AssertGoneAsync(pids);
    }

    [Fact]
    public async Task Train_CoordinatorDoesNotStop_IsKilledWithinTwoSeconds()
    {
        if (OperatingSystem.IsWindows()) return;
        Process launcher = Start("stuck");
        List<int> pids = await WaitForPidsAsync();
        Signal(launcher.Id, 2);
        (int code, _, string error) = await EndAsync(launcher);
        Assert.Equal(130, code);
        Assert.Equal("disttrain: stopped, but not saved in time; the last checkpoint stands", error.Trim());
        await AssertGoneAsync(pids);
        Assert.Equal(130, JsonDocument.Parse(await File.ReadAllTextAsync(Json)).RootElement.GetProperty("exit_code").GetInt32());
    }

    [Fact]
    public async Task Train_SecondSignal_EndsAtOnce()
    {
        if (OperatingSystem.IsWindows()) return;
        Process launcher = Start("stuck");
        List<int> pids = await WaitForPidsAsync();
        Signal(launcher.Id, 2);
        Signal(launcher.Id, 15);
        (int code, _, string error) = await EndAsync(launcher);
        Assert.Equal(130, code);
        Assert.Equal("disttrain: ended at once, without saving", error.Trim());
        await AssertGoneAsync(pids);
    }

    [Fact]
    public async Task Train_TerminalCloses_StopsInOrderThoughItIsToldTwice()
    {
        if (OperatingSystem.IsWindows()) return;
        Process launcher = Start("stuck");
        List<int> pids = await WaitForPidsAsync();
        // Once from the shell, once from the kernel.
        Signal(launcher.Id, 1);
        Signal(launcher.Id, 15);
        Signal(launcher.Id, 1);
        (int code, _, string error) = await EndAsync(launcher);
        Assert.Equal(130, code);
        Assert.Contains("stopped, but not saved in time", error, StringComparison.Ordinal);
        await AssertGoneAsync(pids);
    }

    [Fact]
    public async Task Train_LauncherKilled_LeavesNoProcess()
    {
        if (OperatingSystem.IsWindows()) return;
        Process launcher = Start("stuck");
        List<int> pids = await WaitForPidsAsync();
        Signal(launcher.Id, 9);
        await EndAsync(launcher);
        await AssertGoneAsync(pids);
    }

    [Fact]
    public async Task Train_CoordinatorKilledTooOften_EndsAllAndNamesIt()
    {
        if (OperatingSystem.IsWindows()) return;
        Process launcher = Start("run", null, "--set", "cluster.restarts=0");
        List<int> pids = await WaitForPidsAsync();
        Signal(pids[0], 9);
        (int code, _, string error) = await EndAsync(launcher);
        Assert.Equal(4, code);
        Assert.StartsWith($"disttrain: coordinator (pid {pids[0]}) was killed by SIGKILL", error, StringComparison.Ordinal);
        Assert.DoesNotContain('\n', error.Trim());
        Assert.Equal(4, JsonDocument.Parse(await File.ReadAllTextAsync(Json)).RootElement.GetProperty("exit_code").GetInt32());
        await AssertGoneAsync(pids);
    }

    [Fact]
    public async Task Train_WorkerKilledWhileTraining_IsNamedAndTheRunGoesOn()
    {
        if (OperatingSystem.IsWindows()) return;
        Process launcher = Start("run");
        List<int> pids = await WaitForPidsAsync();
        int victim = ReadPids("worker")[0];
        Signal(victim, 9);
        await ReadUntilAsync(launcher.StandardError, $"worker (pid {victim}) was killed by SIGKILL");
        Assert.False(launcher.HasExited);
        Signal(launcher.Id, 2);
        Assert.Equal(130, (await EndAsync(launcher)).Code);
        await AssertGoneAsync(pids);
    }

    private Process Start(string coordinator, string? worker = null, params string[] options)
    {
        string fake = Path.Combine(AppContext.BaseDirectory, OperatingSystem.IsWindows() ? "DistTrain.Cli.FakeRoles.exe" : "DistTrain.Cli.FakeRoles");
        var info = new ProcessStartInfo(fake, ["train", "--json", Json, .. options])
        {
            UseShellExecute = false,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
            WorkingDirectory = _directory,
        };
        info.Environment["FAKE_COORDINATOR"] = coordinator;
        info.Environment["FAKE_WORKER"] = worker;
        info.Environment["FAKE_PIDS"] = Pids;
        Process process = Process.Start(info)!;
        _started.Add(process);
        return process;
    }

    private async Task<(int Code, string Output, string Error)> RunAsync(string coordinator, params string[] options) => await EndAsync(Start(coordinator, null, options));

    private async Task<(int Code, string Output, string Error)> RunAsync(string coordinator, string worker) => await EndAsync(Start(coordinator, worker));

    private static async Task<(int Code, string Output, string Error)> EndAsync(Process process)
    {
        using var patience = new CancellationTokenSource(Patience);
        Task<string> output = process.StandardOutput.ReadToEndAsync(patience.Token);
        Task<string> error = process.StandardError.ReadToEndAsync(patience.Token);
        await process.WaitForExitAsync(patience.Token);
        return (process.ExitCode, await output, await error);
    }

    private static async Task ReadUntilAsync(StreamReader from, string wanted)
    {
        using var patience = new CancellationTokenSource(Patience);
        while (await from.ReadLineAsync(patience.Token) is { } line)
        {
            if (line.Contains(wanted, StringComparison.Ordinal)) return;
        }

        throw new InvalidOperationException($"'{wanted}' was never said");
    }

    private async Task<List<int>> WaitForPidsAsync()
    {
        await UntilAsync(() => File.Exists(Pids), "the processes to start");
        return ReadPids();
    }

    private List<int> ReadPids(string role = "") =>
        [.. File.ReadAllLines(Pids).Where(l => l.StartsWith(role, StringComparison.Ordinal)).Select(l => int.Parse(l.Split(' ')[1]))];

    private static Task AssertGoneAsync(List<int> pids) => UntilAsync(() => !pids.Exists(IsAlive), "all processes to be gone");

    private static async Task UntilAsync(Func<bool> condition, string what)
    {
        long start = Stopwatch.GetTimestamp();
        while (!condition())
        {
            Assert.True(Stopwatch.GetElapsedTime(start) < Patience, $"waited in vain for {what}");
            await Task.Delay(20);
        }
    }

    private static bool IsAlive(int pid)
    {
        try
        {
            using Process process = Process.GetProcessById(pid);
            return !process.HasExited;
        }
        catch (ArgumentException)
        {
            return false;
        }
    }

    private static void Signal(int pid, int signal) => Assert.Equal(0, Kill(pid, signal));

    [DllImport("libc", EntryPoint = "kill")]
    private static extern int Kill(int pid, int signal);
}
