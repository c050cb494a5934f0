using DistTrain.Cluster;
using DistTrain.Core;
using DistTrain.Core.Actors;
using DistTrain.Core.Messages;
using DistTrain.Training.Checkpoints;
using DistTrain.Training.Coordinator;

namespace DistTrain.Composition;

/// <summary>Hosts a job's coordinator actor: its engine, its clock ticks, its checkpoints and its figures.</summary>
internal sealed class CoordinatorHost : IAsyncDisposable
{
    // What is granted when Ctrl-C comes may take this long to finish; the rest of two seconds is for saving and ending.
    private static readonly TimeSpan StopGrace = TimeSpan.FromSeconds(1.2);

    private readonly BuiltInEngine _engine;
    private readonly IActorRef _coordinator;
    private readonly RunMetrics _metrics;
    private readonly ITrainingObserver _observer;
    private readonly CancellationTokenSource _ending = new();
    private readonly ITimer _ticks;
    private readonly Task _views;
    private readonly IDisposable? _quit;

    public CoordinatorHost(JobContext context, TrainingPlan plan, RunFiles files, RunMetrics metrics, ITrainingObserver observer, TimeProvider time)
    {
        (_metrics, _observer) = (metrics, observer);
        if (context.Doubt is { } doubt) observer.Warn(doubt);
        if (context.GivesUp is { } given) observer.Note(given);
        if (JobWire.Note(context.Job) is { } note) observer.Note(note);
        _engine = new BuiltInEngine(time, plan.FailureTimeout, observer.Warn);
        Keeper = new CheckpointKeeper(
            context.Model.Layout, context.Job.StateVectors, files.Resume, files.Save,
            (version, path) => Post(new CheckpointWritten(version, path)),
            (version, error) => Post(new CheckpointFailed(version, error.Message, error is DistTrainException e ? e.ExitCode : ExitCode.Internal)),
            files.Best);
        _coordinator = _engine.Actors.Spawn("coordinator", () => new Coordinator(plan, _engine.Membership, metrics, Keeper.Expect, time, Keeper.GoBack));
        Port = new CoordinatorMailbox(_coordinator, _engine.Membership);
        _ticks = time.CreateTimer(_ => _coordinator.Tell(new Tick()), null, TimeSpan.FromMilliseconds(100), TimeSpan.FromMilliseconds(250));
        _views = Task.Run(ForwardViewsAsync);
        _quit = QuitSignal.On(() => Post(new ExplanationRequested()));
    }

    public ICoordinatorPort Port { get; }

    /// <summary>The file that the trace is written to; null for none.</summary>
    public string? Trace { get; init; }

    public CheckpointKeeper Keeper { get; }

    /// <summary>The weights that the job came to; null before its end, and when it ended before there were any.</summary>
    public ModelSnapshot? Final { get; private set; }

    /// <summary>Waits for the job's end. <paramref name="stop"/> ends it early, as Ctrl-C does.</summary>
    public async Task<TrainResult> RunAsync(CancellationToken stop)
    {
        await using CancellationTokenRegistration stopping = stop.Register(() => _ = StopAsync());
        Task first = await Task.WhenAny(_metrics.Completion, _engine.Actors.Failure);
        if (first == _engine.Actors.Failure)
        {
            ActorFailure failure = await _engine.Actors.Failure;
            throw new InvalidOperationException($"{failure.Path} failed at {failure.Message}: {failure.Cause.Message}", failure.Cause);
        }

        Outcome outcome = await _metrics.Completion;
        await Keeper.FlushAsync();
        WriteTrace();
        // A checkpoint may be complete that the coordinator, in its haste to end, no longer heard of.
        bool ended = outcome.Exit is ExitCode.Done or ExitCode.Interrupted;
        bool best = ended && outcome.Best is { } model && Keeper.Best?.Version == model.Version;
        Final = best ? Keeper.Best : Keeper.Last?.Version == outcome.Version ? Keeper.Last : null;
        return _metrics.Result(best ? outcome : outcome with { Best = null }, Final?.WeightsSha256(), best ? Keeper.BestPath : Keeper.LastPath);
    }

    public async ValueTask DisposeAsync()
    {
        _quit?.Dispose();
        await _ending.CancelAsync();
        await _ticks.DisposeAsync();
        await _views.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        await _engine.DisposeAsync();
        await Keeper.FlushAsync();
        Keeper.Dispose();
        _metrics.Audit?.Dispose();
        _ending.Dispose();
    }

    private void WriteTrace()
    {
        if (Trace is null) return;
        if (TraceFile.TryWrite(Trace, _metrics.Tracks) is { } error) _observer.Warn($"the trace could not be written to {Trace}: {error}");
        else if (_metrics.NotTraced is { } missing) _observer.Warn(missing);
    }

    // Messages that nobody sends twice: they wait for room in the mailbox.
    private void Post(object message) => _ = _coordinator.TellAsync(message).AsTask();

    private async Task StopAsync()
    {
        Post(new StopRequested());
        await Task.Delay(StopGrace, _ending.Token).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        if (!_ending.IsCancellationRequested) Post(new StopNow());
    }

    private async Task ForwardViewsAsync()
    {
        await foreach (ClusterView view in _engine.Membership.WatchAsync(_ending.Token))
        {
            await _coordinator.TellAsync(new ViewChanged(view));
        }
    }
}
