using DistTrain.Cli.Launching;
using DistTrain.Cli.Progress;
using DistTrain.Core;
using DistTrain.Jobs;

namespace DistTrain.Cli.Tests;

/// <summary>What of a run's troubles is shown: all of a run that goes on, two lines at most of one that fails.</summary>
public sealed class TroubleTests : IDisposable
{
    private const int Killed = 128 + 9;

    private readonly StringWriter _out = new() { NewLine = "\n" };
    private readonly StringWriter _error = new() { NewLine = "\n" };
    private readonly ManualTime _time = new();
    private readonly CancellationTokenSource _stop = new();
    private readonly ConsoleObserver _observer;
    private readonly MemberDeaths _deaths;

    public TroubleTests()
    {
        _observer = new ConsoleObserver(new PlainDisplay(_out, _error, _time), _error, _time, showListening: false);
        _deaths = new MemberDeaths(_observer, _stop);
    }

    public void Dispose()
    {
        _observer.Dispose();
        _stop.Dispose();
    }

    [Theory]
    [InlineData(ExitCode.BadData)]
    [InlineData(ExitCode.ClusterLost)]
    [InlineData(ExitCode.Diverged)]
    [InlineData(ExitCode.Interrupted)]
    public void End_MembersExitAsTold_ShowsOnlyTheError(ExitCode code)
    {
        Start();
        _deaths.Add((int)code, "worker (pid 1) ended with exit code", false);
        _deaths.Add((int)code, "worker (pid 2) ended with exit code", false);
        _time.Advance(TimeSpan.FromSeconds(1));
        End(new TrainResult { ExitCode = (int)code, Error = "the reason" });
        Assert.Equal("disttrain: the reason\n", _error.ToString());
    }

    [Fact]
    public void MemberKilled_RunGoesOn_IsShownWithTheLoss()
    {
        Start();
        _deaths.Add(Killed, "worker (pid 1) was killed", false);
        _observer.Membership("worker 0 on box (pid 1) was lost at step 3: reset", trouble: true);
        Assert.Equal("", _error.ToString());
        _time.Advance(TimeSpan.FromMilliseconds(500));
        Assert.Equal("worker (pid 1) was killed\nworker 0 on box (pid 1) was lost at step 3: reset\n", _error.ToString());
        Assert.False(_stop.IsCancellationRequested);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void LastMembersKilled_RunEnds_ShowsOneDeathAndTheError(bool lossFirst)
    {
        Start();
        if (!lossFirst) _deaths.Add(Killed, "server (pid 1) was killed", false);
        _observer.Membership("server 0 on box (pid 1) was lost at step 3: reset", trouble: true);
        if (lossFirst) _deaths.Add(Killed, "server (pid 1) was killed", false);
        _deaths.Add(Killed, "worker (pid 2) was killed", false);
        End(new TrainResult { ExitCode = 4, Error = "server 0 on box (pid 1) was lost: reset; its partition has no other copy" });
        Assert.Equal("server (pid 1) was killed\ndisttrain: server 0 on box (pid 1) was lost: reset; its partition has no other copy\n", _error.ToString());
    }

    [Theory]
    [InlineData(3, 3)]
    [InlineData(2, 2)]
    [InlineData(1, 4)]
    [InlineData(Killed, 4)]
    public void MembersDie_BeforeTrainingBegins_StopsTheRunAndNamesTheFirst(int code, int expected)
    {
        _deaths.Add(code, "worker (pid 1) died", false);
        _deaths.Add(4, "worker (pid 2) ended with exit code 4", false);
        _observer.Warn("worker at 127.0.0.1: bad");
        _observer.Warn("worker at 127.0.0.1: bad too");
        Assert.True(_stop.IsCancellationRequested);
        TrainResult result = End(new TrainResult { ExitCode = 130, Error = "interrupted before the first step" });
        Assert.Equal(expected, result.ExitCode);
        Assert.Equal("worker at 127.0.0.1: bad\ndisttrain: worker (pid 1) died, before training began\n", _error.ToString());
    }

    [Fact]
    public void MembersDie_CoordinatorFailsItself_ItsOwnErrorStands()
    {
        _deaths.Add(4, "worker (pid 1) ended with exit code 4", false);
        Assert.Equal(3, End(new TrainResult { ExitCode = 3, Error = "a.csv:3: bad" }).ExitCode);
        Assert.Equal("disttrain: a.csv:3: bad\n", _error.ToString());
    }

    [Fact]
    public void Exception_AfterTroubles_LeavesRoomForItsLine()
    {
        _observer.Warn("first");
        _observer.Warn("second");
        _observer.Dispose();
        Assert.Equal("first\n", _error.ToString());
    }

    private void Start() => _observer.Started(new TrainingStarted("x", "data", "model", 2, 1, 8, 128, 0, 36, 12, null));

    private TrainResult End(TrainResult result)
    {
        result = _deaths.Judge(result, interrupted: false);
        _observer.Finish(result, JobReader.Load(null), new UsageHint("disttrain train"));
        return result;
    }
}
