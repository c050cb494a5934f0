using DistTrain.Core.Messages;
using DistTrain.Core.Tracing;

namespace DistTrain.Training.Coordinator;

/// <content>How what members recorded comes together when steps are over.</content>
public sealed partial class Coordinator
{
    private static readonly TimeSpan CollectTimeout = TimeSpan.FromSeconds(5);

    private long _askedForTraces;

    private void AskForTraces()
    {
        _phase = Phase.Collecting;
        _ending = _time.GetTimestamp();
        _askedForTraces = Now();
        foreach (Session session in _sessions.Values.Where(s => s.Member is not null))
        {
            session.Track = new TraceTrack(session.Member);
            session.Link.Send(new TraceWanted());
        }

        EndWhenCollected();
    }

    private void Collect(Session session, Traced traced)
    {
        if (session.Track is not { IsComplete: false } track) return;
        // The first part is empty: what its way took, there and back, bounds how far the clocks are apart.
        if (traced.Events.IsEmpty && track.Events.Count == 0) Align(track, traced, session.IsHere);
        track.Add(traced.Events);
        track.Lost = traced.Lost;
        track.IsComplete = traced.Last;
        EndWhenCollected();
    }

    private void Align(TraceTrack track, Traced traced, bool here)
    {
        if (here) return;
        long way = Math.Max(0, Now() - _askedForTraces - (traced.SentAt - traced.AskedAt));
        (track.ClockOffset, track.ClockError) = (_askedForTraces + (way / 2) - traced.AskedAt, way / 2);
    }

    // In nanoseconds, as recorders have it.
    private long Now() => _time.GetElapsedTime(0, _time.GetTimestamp()).Ticks * TimeSpan.NanosecondsPerTick;

    private void EndWhenCollected()
    {
        if (_phase != Phase.Collecting || _sessions.Values.Any(s => s.Track is { IsComplete: false })) return;
        End();
    }

    private void TellTraces()
    {
        if (_plan.Trace is not { } own) return;
        var mine = new TraceTrack(null) { IsComplete = true, Lost = own.Lost };
        mine.Add(own.Take());
        _events.Traced([mine, .. _sessions.Values.Where(s => s.Track is { IsComplete: true }).OrderBy(s => s.Member!.Id.Value).Select(s => s.Track!)]);
    }
}
