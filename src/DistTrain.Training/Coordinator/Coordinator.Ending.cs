using DistTrain.Core;
using DistTrain.Core.Messages;

namespace DistTrain.Training.Coordinator;

/// <content>How members are lost and how the job ends.</content>
public sealed partial class Coordinator
{
    private static readonly TimeSpan EndTimeout = TimeSpan.FromSeconds(0.5);

    private long _ending;

    private void Closed(Session session, string cause)
    {
        _sessions.Remove(session.Link);
        if (session.Member is { } member) _membership.Remove(member.Id, session.LastWords ?? cause);
        else if (_outcome is null) _events.Warn($"{session.Name} did not join: {session.LastWords ?? cause}");
        if (_phase == Phase.Ending && _sessions.Count == 0) Over();
        EndWhenCollected();
    }

    private void View(ClusterView view)
    {
        int known = _view.Departures.Length;
        _view = view;
        foreach (Departure departure in view.Departures.Skip(known)) Lost(departure.Member, departure.Cause);
    }

    private void Lost(Member member, string cause)
    {
        if (_sessions.Values.FirstOrDefault(s => s.Member?.Id == member.Id) is { } session)
        {
            Evict(session, cause);
        }

        EndWhenCollected();
        if (_outcome is not null) return;
        _events.Lost(member, cause, _clock.Committed);
        if (_phase == Phase.Forming) return;
        if (_candidates.Any(s => s.Member!.Id == member.Id) && (_phase is Phase.Accepting or Phase.Owning || Holders.Any(s => s.Member!.Id == member.Id))) FallBack();
        else if (member.Role == MemberRole.Worker && _phase == Phase.Training)
        {
            FollowTrail(member, cause);
            if (_outcome is null) Reassign();
        }
    }

    private void Interrupt()
    {
        if (_outcome is not null) return;
        if (_phase != Phase.Training || _clock.Granted == _plan.FirstVersion)
        {
            Finish(ExitCode.Interrupted, _begun ? $"interrupted at step {_clock.Committed}; {Standing}" : "interrupted before the first step");
            return;
        }

        // What is granted is finished, and saved where it ends.
        _clock.EndEarly();
        _clock.Grant();
        SendClock();
        EndWhenDone();
    }

    private void CheckpointNotWritten(CheckpointFailed failed)
    {
        if (_outcome is not null) return;
        if (failed.Exit == ExitCode.Diverged || failed.Version == _clock.End || failed.Version == _judged.Best?.Version) Finish(failed.Exit, failed.Reason);
        else
        {
            _events.Warn(failed.Reason);
            if (_clock.LetGo(failed.Version)) _heldNext = _clock.Committed + StepsToAnotherHold;
            SettleCheckpoint(failed.Version);
        }
    }

    private void EndWhenDone()
    {
        if (_phase != Phase.Training || _clock.Committed < _clock.End || _clock.EvaluationDue) return;
        if (!_saved.Contains(_clock.End) || BestIsAwaited) return;
        if (_clock.EndsEarly) Finish(ExitCode.Interrupted, $"interrupted at step {_clock.Committed} of {_plan.TotalSteps}");
        else Finish(ExitCode.Done, null);
    }

    private void Finish(ExitCode exit, string? reason)
    {
        if (_outcome is not null) return;
        TellUndecided();
        _outcome = new Outcome(exit, reason, _clock.Committed, Workers.Count(), _servers.Count)
        {
            Best = _judged.Best,
            BucketLength = _bucketLength,
            Staleness = _plan.Consistency.IsSync ? null : _staleness,
            AssistedShards = _assistedShards,
            VerifiedShards = _plan.Verify > 0 ? _verifiedShards : null,
            UnequalShards = _plan.Verify > 0 ? _unequalShards : null,
            Traffic = _traffic.Values.Aggregate(_trafficBefore, (sum, one) => sum + one),
        };
        if (_plan.Trace is not null && _phase == Phase.Training) AskForTraces();
        else End();
    }

    private void End()
    {
        TellTraces();
        _phase = Phase.Ending;
        _ending = _time.GetTimestamp();
        foreach (Session session in _sessions.Values)
        {
            session.Link.Send(new Stop(_outcome!.Reason ?? "the job is done", _outcome.Exit));
            session.Link.Close();
        }

        if (_sessions.Count == 0) Over();
    }

    // Members that don't go when they are told to are left behind.
    private void EndOverdue()
    {
        if (_time.GetElapsedTime(_ending) > EndTimeout) Over();
    }

    private void Over()
    {
        _phase = Phase.Over;
        _events.Finished(_outcome!);
    }
}
