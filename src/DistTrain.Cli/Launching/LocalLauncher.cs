using System.Globalization;
using System.IO.Pipes;
using System.Security.Cryptography;
using DistTrain.Core;

namespace DistTrain.Cli.Launching;

/// <summary>What <c>train</c> starts.</summary>
/// <param name="Coordinator">The coordinator's command line, but for what ties it to the launcher.</param>
/// <param name="Workers">Worker processes.</param>
/// <param name="Servers">Parameter servers.</param>
/// <param name="Threads">Computing threads of each worker.</param>
/// <param name="Cores">The cores of each worker's threads; null pins nothing.</param>
internal sealed record LaunchPlan(IReadOnlyList<string> Coordinator, int Workers, int Servers, int Threads, IReadOnlyList<string>? Cores = null)
{
    /// <summary>Whether each worker has a parameter server in its process, instead of processes of their own.</summary>
    public bool Colocated { get; init; }
}

/// <summary>How a local run ended.</summary>
/// <param name="ExitCode">The code to end with.</param>
/// <param name="Error">What the coordinator could not say itself; null when it ended in order.</param>
internal sealed record LaunchResult(int ExitCode, string? Error);

/// <summary>
/// Runs a job as processes on this machine: a coordinator that owns the terminal, servers and workers that are heard
/// only when something is wrong. It only starts them, hands out address and token, and sees that all of them end.
/// </summary>
internal sealed class LocalLauncher(OwnExecutable executable, LaunchPlan plan, TimeProvider time)
{
    /// <summary>From the word to stop until what is left gets killed; Ctrl-C ends everything within two seconds.</summary>
    public static readonly TimeSpan StopTime = TimeSpan.FromMilliseconds(1750);

    /// <summary>How long the coordinator may take to notice that nobody is left to work.</summary>
    public static readonly TimeSpan AloneTime = TimeSpan.FromSeconds(15);

    private static readonly TimeSpan EndTime = TimeSpan.FromSeconds(1);

    private readonly List<ChildProcess> _members = [];
    private readonly TaskCompletionSource<string> _verdict = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private ChildProcess? _coordinator;
    private volatile bool _stopping;
    private int _workersLeft = plan.Workers;
    private int _serversLeft = plan.Servers;

    /// <summary>The processes, for tests: the coordinator first.</summary>
    public Action<IReadOnlyList<ChildProcess>>? Started { get; init; }

    /// <summary>Runs until everything has ended; <paramref name="stop"/> saves and stops, <paramref name="kill"/> just ends it.</summary>
    public async Task<LaunchResult> RunAsync(CancellationToken stop, CancellationToken kill)
    {
        try
        {
            StartAll();
            using CancellationTokenRegistration onStop = stop.Register(AskToStop);
            using CancellationTokenRegistration onKill = kill.Register(() => _verdict.TrySetResult("ended at once, without saving"));
            Task ended = await Task.WhenAny(_coordinator!.Exited, _verdict.Task);
            return ended == _verdict.Task && !_coordinator.Exited.IsCompleted
                ? new((int)(_stopping || kill.IsCancellationRequested ? ExitCode.Interrupted : ExitCode.ClusterLost), await _verdict.Task)
                : Judge(await _coordinator.Exited);
        }
        finally
        {
            await EndAllAsync();
        }
    }

    private void StartAll()
    {
        string token = Convert.ToHexStringLower(RandomNumberGenerator.GetBytes(32));
        var announce = new AnonymousPipeServerStream(PipeDirection.In, HandleInheritability.Inheritable);
        // Whatever starts now inherits the pipe's other end, so the coordinator comes first, and alone.
        _coordinator = ChildProcess.Start(executable, "coordinator", [.. plan.Coordinator, "--lifeline", "--announce", announce.GetClientHandleAsString()], said: null);
        announce.DisposeLocalCopyOfClientHandle();
        _coordinator.Send($"token {token}");
        for (int i = 0; i < plan.Servers && !plan.Colocated; i++) StartMember("server", token, []);
        for (int i = 0; i < plan.Workers; i++)
        {
            string[] pin = plan.Cores is { } cores ? ["--cores", cores[i]] : [];
            StartMember("worker", token, ["--threads", plan.Threads.ToString(CultureInfo.InvariantCulture), .. pin, .. plan.Colocated ? (string[])["--with-server"] : []]);
        }

        Started?.Invoke([_coordinator, .. _members]);
        _ = TellAddressAsync(announce);
    }

    private void StartMember(string role, string token, IEnumerable<string> options)
    {
        ChildProcess member = ChildProcess.Start(executable, role, [role, "--lifeline", .. options], Say);
        _members.Add(member);
        member.Send($"token {token}");
        _ = WatchAsync(member, isWorker: role == "worker");
    }

    private async Task TellAddressAsync(AnonymousPipeServerStream announce)
    {
        using var reader = new StreamReader(announce);
        // Without an address the coordinator is at its end, and so is the run.
        if (await reader.ReadLineAsync() is { } address) _members.ForEach(m => m.Send($"join {address}"));
    }

    private void Say(ChildProcess member, string line)
    {
        // What members say of a coordinator that has ended is no news.
        if (!_stopping && !string.IsNullOrWhiteSpace(line)) _coordinator!.Send($"note {member} | {line}");
    }

    private async Task WatchAsync(ChildProcess member, bool isWorker)
    {
        int code = await member.Exited;
        if (_stopping) return;
        if (code != 0) _coordinator!.Send(string.Create(CultureInfo.InvariantCulture, $"gone {code} {member.Describe(code)}"));
        int left = isWorker ? Interlocked.Decrement(ref _workersLeft) : Interlocked.Decrement(ref _serversLeft);
        if (left > 0) return;
        await Task.Delay(AloneTime, time);
        _verdict.TrySetResult($"all {(isWorker ? "workers" : "parameter servers")} are gone, and the coordinator did not end; it was killed");
    }

    private void AskToStop()
    {
        _stopping = true;
        _coordinator!.Send("stop");
        _members.ForEach(m => m.Send("stop"));
        _ = Task.Delay(StopTime, time).ContinueWith(_ => _verdict.TrySetResult("stopped, but not saved in time; the last checkpoint stands"), TaskScheduler.Default);
    }

    private LaunchResult Judge(int code) => ChildProcess.SignalName(code) switch
    {
        null => new(code, null),
        { } signal when signal is "SIGABRT" or "SIGSEGV" or "SIGILL" or "SIGFPE" or "SIGBUS" => new((int)ExitCode.Internal, _coordinator!.Describe(code)),
        _ => new((int)ExitCode.ClusterLost, _coordinator!.Describe(code)),
    };

    private async Task EndAllAsync()
    {
        bool orderly = _coordinator is { Exited.IsCompleted: true };
        _stopping = true;
        List<ChildProcess> all = _coordinator is null ? _members : [_coordinator, .. _members];
        all.ForEach(c => c.Release());
        if (!orderly) all.ForEach(c => c.Kill());
        Task ended = Task.WhenAll(all.Select(c => c.Exited));
        if (await Task.WhenAny(ended, Task.Delay(EndTime, time)) != ended) all.ForEach(c => c.Kill());
        await ended;
        all.ForEach(c => c.Dispose());
    }
}
