using System.Collections.Immutable;
using DistTrain.Cluster.Hosting;
using DistTrain.Core;
using DistTrain.Core.Actors;
using DistTrain.Core.Memory;
using DistTrain.Core.Messages;
using DistTrain.Core.Tracing;
using DistTrain.Kernels;

namespace DistTrain.Composition;

/// <summary>What a member becomes once it has the job: its actor, and the hash of the data that it read.</summary>
/// <param name="JobHash">The job as this member understood it.</param>
/// <param name="DataHash">Its data; empty for servers.</param>
/// <param name="Actor">The worker or parameter server.</param>
/// <param name="Options">How it is hosted.</param>
/// <param name="Attach">Told the actor's address, before the handshake goes on.</param>
/// <param name="DisconnectAsync">Called when the actor has stopped: ends all that still moves tensors for it.</param>
/// <param name="FreeAsync">Called last: frees its memory, which servers of the same process may have been lent.</param>
internal sealed record MemberPart(
    string JobHash, string DataHash, IActor Actor, ActorOptions Options, Action<IActorRef> Attach,
    Func<Task> DisconnectAsync, Func<ValueTask> FreeAsync)
{
    /// <summary>Where what it does is recorded; null for nowhere.</summary>
    public TraceRecorder? Trace { get; init; }

    /// <summary>What its link to the coordinator's machine does; not known where there is none in between.</summary>
    public LinkSpeed Link { get; init; }
}

/// <summary>
/// A member's side of the conversation with the coordinator: the handshake, heartbeats from a thread of their own, and
/// the end. Everything else goes to the actor.
/// </summary>
internal sealed class MemberHost : IAsyncDisposable
{
    private const int TraceEventsOfAMessage = 8192;

    // Less than the coordinator waits.
    private static readonly TimeSpan AnswerTimeout = TimeSpan.FromSeconds(0.5);

    // A coordinator that leaves no time is not flooded.
    private static readonly TimeSpan ShortestPeriod = TimeSpan.FromMilliseconds(10);

    private readonly MemberRole _role;
    private readonly string _endpoint;
    private readonly Func<JobOffer, ICoordinatorLink, MemberPart> _build;
    private readonly Action<string> _log;
    private readonly ActorHost _actors;
    private readonly TaskCompletionSource<ExitCode?> _ended = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly LatestLink _link = new();
    private readonly ManualResetEventSlim _stopHeartbeats = new();
    private MemberPart? _part;
    private IActorRef? _actor;
    private MemberId? _id;
    private bool _beats;
    private long _highestTerm;

    public MemberHost(MemberRole role, ulong incarnation, string endpoint, Func<JobOffer, ICoordinatorLink, MemberPart> build, Action<string> log)
    {
        (_role, Incarnation, _endpoint, _build, _log) = (role, incarnation, endpoint, build, log);
        _actors = new ActorHost(TimeProvider.System, log);
        _ = EndOnFailureAsync();
    }

    /// <summary>Random for this life of the member.</summary>
    public ulong Incarnation { get; }

    /// <summary>
    /// Completes with the exit code when the coordinator stops this member, with null when it gave this life of it up; fails when it is refused or
    /// breaks.
    /// </summary>
    public Task<ExitCode?> Ended => _ended.Task;

    /// <summary>"worker 3 (pid 412 on lab-2)".</summary>
    public string Name => $"{_role.ToString().ToLowerInvariant()} {(_id is { } id ? $"{id} " : "")}(pid {Environment.ProcessId} on {Environment.MachineName})";

    /// <summary>Whether it was admitted.</summary>
    public bool IsIn { get; private set; }

    /// <summary>A link is open, the first or one after an earlier was lost: begins the handshake.</summary>
    public void Begin(ICoordinatorLink link)
    {
        _link.Set(link);
        link.Send(new JoinRequest(
            _role, Environment.MachineName, Environment.ProcessId, Incarnation, Protocol.Version, NumericsRevision.Current, _endpoint)
        { HostIdentity = HostIdentity.Own });
    }

    /// <summary>Takes the coordinator's messages, one at a time.</summary>
    public async ValueTask ReceiveAsync(CoordinatorMessage message)
    {
        switch (message)
        {
            case JobOffer offer:
                await TakeJobAsync(offer);
                break;
            case Welcome welcome:
                _log($"joined as {_role.ToString().ToLowerInvariant()} {welcome.Member}");
                (IsIn, _id) = (true, welcome.Member);
                StartHeartbeats(welcome.FailureTimeout);
                break;
            case Refused refused:
                _ended.TrySetException(new DistTrainException(refused.Exit, refused.Reason));
                break;
            case Explain explain:
                _ = AnswerAsync(explain);
                break;
            case TraceWanted:
                SendTrace(_link, TraceRecorder.Now);
                break;
            case Evicted evicted:
                _log($"its place was taken: {evicted.Cause}");
                _ended.TrySetResult(null);
                break;
            case Stop stop:
                _log($"stopping: {stop.Reason}");
                _ended.TrySetResult(stop.Exit);
                break;
            default:
                _highestTerm = Math.Max(_highestTerm, message switch { AcceptTerm accept => accept.Term, Topology topology => topology.Term, _ => 0 });
                if (_actor is { } actor) await actor.TellAsync(message);
                break;
        }
    }

    /// <summary>Stops the actor, then all that moves tensors for it; its memory stays.</summary>
    public async Task StopAsync()
    {
        if (_stopHeartbeats.IsSet) return;
        _stopHeartbeats.Set();
        await _actors.DisposeAsync();
        if (_part is { } part) await part.DisconnectAsync();
    }

    public async ValueTask DisposeAsync()
    {
        await StopAsync();
        if (_part is { } part) await part.FreeAsync();
    }

    private async Task TakeJobAsync(JobOffer offer)
    {
        ICoordinatorLink link = _link;
        if (_part is { } known)
        {
            // Another coordinator of the same job.
            link.Send(new JoinReady(known.JobHash, known.DataHash) { Link = known.Link, HighestTerm = _highestTerm });
            return;
        }

        try
        {
            // Off the link's thread: reading a large data set takes its time.
            _part = await Task.Run(() => _build(offer, link));
            _actor = _actors.Spawn(_role.ToString().ToLowerInvariant(), () => _part.Actor, _part.Options);
            _part.Attach(_actor);
            link.Send(new JoinReady(_part.JobHash, _part.DataHash) { Link = _part.Link });
        }
        catch (DistTrainException e)
        {
            link.Send(new Failed(e.Message, e.ExitCode));
            _ended.TrySetException(e);
        }
        catch (Exception e)
        {
            link.Send(new Failed($"internal error while taking the job: {e.GetType().Name}: {e.Message}", ExitCode.Internal));
            _ended.TrySetException(e);
        }
    }

    /// <summary>What this member does and waits for, in words.</summary>
    public async Task<Explained> ExplainAsync(long round)
    {
        if (_actor is not { } actor) return new Explained(round, IsIn ? "is ending" : "has not joined yet");
        try
        {
            return await actor.AskAsync<Explained>(new Explain(round), AnswerTimeout);
        }
        catch (TimeoutException)
        {
            return new Explained(round, $"its {_role.ToString().ToLowerInvariant()} has been busy with one thing for more than {AnswerTimeout.TotalSeconds:0.0} s");
        }
        catch (Exception e) when (e is InvalidOperationException or OperationCanceledException)
        {
            return new Explained(round, "is ending");
        }
    }

    private async Task AnswerAsync(Explain explain) => _link.Send(await ExplainAsync(explain.Round));

    private void SendTrace(ICoordinatorLink link, long asked)
    {
        TraceRecorder? trace = _part?.Trace;
        link.Send(new Traced(asked, TraceRecorder.Now, [], 0, Last: false));
        ImmutableArray<TraceEvent> events = trace?.Take() ?? [];
        for (int at = 0; at < events.Length; at += TraceEventsOfAMessage)
        {
            link.Send(new Traced(asked, TraceRecorder.Now, events.Slice(at, Math.Min(TraceEventsOfAMessage, events.Length - at)), trace!.Lost, Last: false));
        }

        link.Send(new Traced(asked, TraceRecorder.Now, [], trace?.Lost ?? 0, Last: true));
    }

    private async Task EndOnFailureAsync()
    {
        ActorFailure failure = await _actors.Failure;
        var known = failure.Cause as DistTrainException;
        string cause = known?.Message ?? $"internal error in {failure.Path} at {failure.Message}: {failure.Cause.GetType().Name}: {failure.Cause.Message}";
        _link.Send(new Failed(cause, known?.ExitCode ?? ExitCode.Internal));
        _ended.TrySetException(known is null ? new InvalidOperationException(cause, failure.Cause) : known);
    }

    private void StartHeartbeats(TimeSpan failureTimeout)
    {
        if (_beats) return;
        _beats = true;
        TimeSpan period = failureTimeout / 6 > ShortestPeriod ? failureTimeout / 6 : ShortestPeriod;
        new Thread(() =>
        {
            while (!_stopHeartbeats.Wait(period)) _link.Send(new Heartbeat());
        })
        { IsBackground = true, Name = "heartbeat" }.Start();
    }

    /// <summary>The link that there is at the moment; what is sent while there is none is lost.</summary>
    private sealed class LatestLink : ICoordinatorLink
    {
        private volatile ICoordinatorLink? _current;

        public void Set(ICoordinatorLink link) => _current = link;

        public void Send(MemberMessage message) => _current?.Send(message);

        public ValueTask DisposeAsync() => ValueTask.CompletedTask;
    }
}
