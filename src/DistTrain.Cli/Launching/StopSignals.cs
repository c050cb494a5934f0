using System.Runtime.InteropServices;
using DistTrain.Core;

namespace DistTrain.Cli.Launching;

/// <summary>
/// Ctrl-C and its relatives (SIGINT, SIGTERM, SIGHUP): the first asks to stop and save, the second ends at once. A
/// SIGHUP never counts as the second: a closing terminal sends several, and nobody is impatient.
/// </summary>
internal sealed class StopSignals : IDisposable
{
    private readonly CancellationTokenSource _stop = new();
    private readonly List<PosixSignalRegistration> _registrations = [];
    private int _count;

    private StopSignals()
    {
    }

    /// <summary>Cancelled by the first signal.</summary>
    public CancellationToken Stop => _stop.Token;

    /// <summary>Handles the signals for a process of its own; <paramref name="second"/> is called by the second one, in
    /// place of leaving at once.</summary>
    public static StopSignals Handle(Action? second = null)
    {
        var signals = new StopSignals();
        signals.On(PosixSignal.SIGINT, First);
        signals.On(PosixSignal.SIGTERM, First);
        signals.On(PosixSignal.SIGHUP, signals._stop.Cancel);
        signals.Survive();
        return signals;

        void First()
        {
            if (Interlocked.Increment(ref signals._count) == 1) signals._stop.Cancel();
            else if (second is not null) second();
            else Environment.Exit((int)ExitCode.Interrupted);
        }
    }

    /// <summary>
    /// Leaves Ctrl-C and a closing terminal to the launcher, which shares our process group. A SIGTERM may have gone to the whole group too: it
    /// ends this process only when the launcher doesn't say 'stop' right after.
    /// </summary>
    public static StopSignals LeaveToLauncher(Lifeline lifeline)
    {
        var signals = new StopSignals();
        signals.On(PosixSignal.SIGINT, () => { });
        signals.On(PosixSignal.SIGHUP, () => { });
        signals.On(PosixSignal.SIGTERM, () =>
        {
            if (!lifeline.Stop.WaitHandle.WaitOne(TimeSpan.FromMilliseconds(250))) Environment.Exit(128 + 15);
        });
        signals.Survive();
        return signals;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _registrations.ForEach(r => r.Dispose());
        _stop.Dispose();
    }

    // Who can tell something adds a handler of its own; before there is anything to tell, nothing ends.
    private void Survive()
    {
        if (!OperatingSystem.IsWindows()) On(PosixSignal.SIGQUIT, () => { });
    }

    private void On(PosixSignal signal, Action action) =>
        _registrations.Add(PosixSignalRegistration.Create(signal, context =>
        {
            context.Cancel = true;
            action();
        }));
}
