using System.Globalization;
using System.IO.Pipes;
using System.Runtime.InteropServices;
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

    /// <summary>How often, in all, a process that died is started again.</summary>
    public int Restarts { get; init; }
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

    /// <summary>A process that has lived for so long didn't die of how it was started.</summary>
    public static readonly TimeSpan SoundLife = TimeSpan.FromSeconds(10);

    private static readonly TimeSpan FirstPause = TimeSpan.FromMilliseconds(100);
    private static readonly TimeSpan LongestPause = TimeSpan.FromSeconds(10);

    private readonly Lock _lock = new();
    private readonly List<ChildProcess> _members = [];
    private readonly TaskCompletionSource<string> _verdict = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly string _token = Convert.ToHexStringLower(RandomNumberGenerator.GetBytes(32));
    private readonly DateTimeOffset _began = time.GetUtcNow();
    private volatile ChildProcess? _coordinator;
    private long _coordinatorBegan;
    private volatile bool _stopping;
    private string? _address;
    private int _restartsLeft = plan.Restarts;
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
            using IDisposable? onQuit = OperatingSystem.IsWindows() ? null : PosixSignalRegistration.Create(PosixSignal.SIGQUIT, Explain);
            using CancellationTokenRegistration onKill = kill.Register(() => _verdict.TrySetResult("ended at once, without saving"));
            while (true)
            {
                ChildProcess coordinator = _coordinator!;
                Task ended = await Task.WhenAny(coordinator.Exited, _verdict.Task);
                if (ended == _verdict.Task && !coordinator.Exited.IsCompleted) return new((int)(_stopping || kill.IsCancellationRequested ? ExitCode.Interrupted : ExitCode.ClusterLost), await _verdict.Task);
                int code = await coordinator.Exited;
                if (_stopping || !TryFollow(coordinator, code)) return Judge(code);
            }
        }
        finally
        {
            await EndAllAsync();
        }
    }

    private void StartAll()
    {
        _coordinator = StartFirstCoordinator();
        for (int i = 0; i < plan.Servers && !plan.Colocated; i++) StartMember("server", []);
        for (int i = 0; i < plan.Workers; i++)
        {
            string[] pin = plan.Cores is { } cores ? ["--cores", cores[i]] : [];
            StartMember("worker", ["--threads", plan.Threads.ToString(CultureInfo.InvariantCulture), .. pin, .. plan.Colocated ? (string[])["--with-server"] : []]);
        }

        lock (_lock) Started?.Invoke([_coordinator, .. _members]);
    }

    private ChildProcess StartFirstCoordinator()
    {
        var announce = new AnonymousPipeServerStream(PipeDirection.In, HandleInheritability.Inheritable);
        // Whatever starts now inherits the pipe's other end, so the coordinator comes first, and alone.
        ChildProcess coordinator = StartCoordinator(["--announce", announce.GetClientHandleAsString()]);
        announce.DisposeLocalCopyOfClientHandle();
        _ = TellAddressAsync(announce);
        return coordinator;
    }

    private ChildProcess StartCoordinator(string[] options)
    {
        ChildProcess coordinator = ChildProcess.Start(executable, "coordinator", [.. plan.Coordinator, "--lifeline", .. options], said: null);
        coordinator.Send($"token {_token}");
        _coordinatorBegan = time.GetTimestamp();
        return coordinator;
    }

    // Another coordinator takes the place of one that died, where the members look for it.
    private bool TryFollow(ChildProcess before, int code)
    {
        // One that broke soon after its beginning would do so again.
        bool broke = code == (int)ExitCode.Internal && time.GetElapsedTime(_coordinatorBegan) >= SoundLife;
        if (ChildProcess.SignalName(code) is null && !broke) return false;
        lock (_lock)
        {
            if (_stopping || Interlocked.Decrement(ref _restartsLeft) < 0) return false;
            // One that died before anybody could find it leaves nothing to go on with.
            _coordinator = _address is not { } address ? StartFirstCoordinator() : StartCoordinator(
                ["--listen", address, "--follows", before.Id.ToString(CultureInfo.InvariantCulture), _began.ToUnixTimeMilliseconds().ToString(CultureInfo.InvariantCulture), before.Describe(code)]);
        }

        _coordinator.Send($"note {before.Describe(code)}; another one takes its place");
        before.Dispose();
        return true;
    }

    private void StartMember(string role, string[] options) => _ = KeepAsync(role, options, Begin(role, options)!);

    // Null once everything is to end.
    private ChildProcess? Begin(string role, string[] options)
    {
        lock (_lock)
        {
            if (_stopping) return null;
            ChildProcess member = ChildProcess.Start(executable, role, [role, "--lifeline", .. options], Say);
            _members.Add(member);
            member.Send($"token {_token}");
            if (_address is { } address) member.Send($"join {address}");
            return member;
        }
    }

    // Sees that the member's place is filled: another process follows one that died, at once at first, then after pauses.
    private async Task KeepAsync(string role, string[] options, ChildProcess member)
    {
        TimeSpan pause = TimeSpan.Zero;
        while (true)
        {
            long began = time.GetTimestamp();
            int code = await member.Exited;
            if (_stopping) return;
            bool again = IsWorthAnother(code) && Interlocked.Decrement(ref _restartsLeft) >= 0;
            if (code != 0) _coordinator!.Send(string.Create(CultureInfo.InvariantCulture, $"{(again ? "died" : "gone")} {code} {member.Describe(code)}"));
            if (!again) break;
            if (time.GetElapsedTime(began) >= SoundLife) pause = TimeSpan.Zero;
            await Task.Delay(pause, time);
            pause = pause == TimeSpan.Zero ? FirstPause : pause * 2 < LongestPause ? pause * 2 : LongestPause;
            lock (_lock) _members.Remove(member);
            member.Dispose();
            if (Begin(role, options) is not { } next) return;
            member = next;
        }

        int left = role == "worker" ? Interlocked.Decrement(ref _workersLeft) : Interlocked.Decrement(ref _serversLeft);
        if (left > 0) return;
        await Task.Delay(AloneTime, time);
        _verdict.TrySetResult($"all {(role == "worker" ? "workers" : "parameter servers")} are gone, and the coordinator did not end; it was killed");
    }

    // What a process says with its exit code of the job or its data would be said again.
    private static bool IsWorthAnother(int code) => ChildProcess.SignalName(code) is not null || code is (int)ExitCode.Internal or (int)ExitCode.ClusterLost;

    private async Task TellAddressAsync(AnonymousPipeServerStream announce)
    {
        using var reader = new StreamReader(announce);
        // Without an address the coordinator is at its end, and so is the run.
        if (await reader.ReadLineAsync() is not { } address) return;
        lock (_lock)
        {
            _address = address;
            _members.ForEach(m => m.Send($"join {address}"));
        }
    }

    private void Say(ChildProcess member, string line)
    {
        // What members say of a coordinator that has ended is no news.
        if (!_stopping && !string.IsNullOrWhiteSpace(line)) _coordinator!.Send($"note {member} | {line}");
    }

    // Ctrl-\ reaches the coordinator by itself, kill -QUIT doesn't.
    private void Explain(PosixSignalContext context)
    {
        context.Cancel = true;
        _coordinator!.AskToExplain();
    }

    private void AskToStop()
    {
        _stopping = true;
        _coordinator!.Send("stop");
        lock (_lock) _members.ForEach(m => m.Send("stop"));
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
        List<ChildProcess> all;
        lock (_lock)
        {
            _stopping = true;
            all = _coordinator is null ? [.. _members] : [_coordinator, .. _members];
        }

        all.ForEach(c => c.Release());
        if (!orderly) all.ForEach(c => c.Kill());
        Task ended = Task.WhenAll(all.Select(c => c.Exited));
        if (await Task.WhenAny(ended, Task.Delay(EndTime, time)) != ended) all.ForEach(c => c.Kill());
        await ended;
        all.ForEach(c => c.Dispose());
    }
}
