using DistTrain.Cli.Progress;
using DistTrain.Core;

namespace DistTrain.Cli.Launching;

/// <summary>
/// What the coordinator of a local run makes of members' processes that end early. Before training has begun, they will
/// not come, so there is nothing to wait for, but where another one is started, because it was killed or lost the others. Later a loss is the cluster's business, and an exit code is mostly the one
/// that the coordinator sent: only a death by signal is news.
/// </summary>
internal sealed class MemberDeaths(ConsoleObserver observer, CancellationTokenSource stop)
{
    private readonly Lock _gate = new();
    private (int Code, string Text)? _first;

    /// <summary>Takes an exit code, the same in words, and whether another one is <paramref name="replaced"/> for it.</summary>
    public void Add(int code, string text, bool replaced)
    {
        lock (_gate)
        {
            bool killed = ChildProcess.SignalName(code) is not null;
            if (observer.HasStarted || (replaced && (killed || code == (int)ExitCode.ClusterLost)))
            {
                if (killed) observer.Trouble(replaced ? $"{text}; another one is started" : text);
                return;
            }

            // What follows the first loss before the beginning is only its consequence.
            if (_first is not null) return;
            _first = (code, text);
        }

        try
        {
            stop.Cancel();
        }
        catch (ObjectDisposedException)
        {
            // The run is over.
        }
    }

    /// <summary>The result of a run that a loss may have ended; not so if the user <paramref name="interrupted"/> it.</summary>
    public TrainResult Judge(TrainResult result, bool interrupted)
    {
        lock (_gate)
        {
            if (_first is not { } first) return result;
            if (interrupted || result.ExitCode is not (int)ExitCode.Interrupted)
            {
                if (ChildProcess.SignalName(first.Code) is not null) observer.Trouble(first.Text);
                return result;
            }

            bool known = first.Code is (int)ExitCode.BadUsage or (int)ExitCode.BadData;
            return result with { ExitCode = known ? first.Code : (int)ExitCode.ClusterLost, Error = $"{first.Text}, before training began" };
        }
    }
}
