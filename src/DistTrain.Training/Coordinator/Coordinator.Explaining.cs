using System.Globalization;
using DistTrain.Core.Messages;

namespace DistTrain.Training.Coordinator;

/// <content>
/// Who waits for whom: asked of every member when nothing has happened for a while, or when somebody wants to know, and printed as one
/// picture. Members that don't answer are part of it.
/// </content>
public sealed partial class Coordinator
{
    private const int MostText = 400;

    private static readonly TimeSpan AnswerTimeout = TimeSpan.FromSeconds(1);

    private readonly Dictionary<Session, Explained> _answers = [];
    private (Phase Phase, long Term, long Committed, long Evaluated, long Evaluating, int Saved, int Members) _seen;
    private long _seenAt;
    private TimeSpan _nextReport;
    private long _round;
    private long? _askedAt;
    private bool _isStalled;

    // What counts as progress: any step, evaluation or checkpoint, and any member that comes or goes.
    private void LookForStall()
    {
        var now = (_phase, _term, _clock.Committed, _lastEvaluated, _evaluating, _saved.Count, _sessions.Count);
        if (now != _seen || _seenAt == 0)
        {
            if (_isStalled && now.Committed > _seen.Committed) _events.Noted($"steps go on: step {_clock.Committed} is reached, after {_time.GetElapsedTime(_seenAt).TotalSeconds:0} s");
            _isStalled &= now.Committed == _seen.Committed;
            // Where steps take long by themselves, that is no news.
            TimeSpan last = _seenAt == 0 ? TimeSpan.Zero : 3 * _time.GetElapsedTime(_seenAt);
            (_seen, _seenAt, _nextReport) = (now, _time.GetTimestamp(), _plan.Watchdog is not { } watchdog ? TimeSpan.MaxValue : last > watchdog ? last : watchdog);
        }

        bool waits = _phase is Phase.Accepting or Phase.Owning or Phase.Training && _outcome is null && (_phase != Phase.Training || Computing.Any());
        if (waits && _askedAt is null && _time.GetElapsedTime(_seenAt) >= _nextReport)
        {
            (_nextReport, _isStalled) = (2 * _nextReport, true);
            AskWhy();
        }

        if (_askedAt is { } asked && (_time.GetElapsedTime(asked) >= AnswerTimeout || _answers.Count == Members.Count())) Explain();
    }

    private IEnumerable<Session> Members => _sessions.Values.Where(s => s.Member is not null).OrderBy(s => s.Member!.Id.Value);

    private void AskWhy()
    {
        if (_askedAt is not null || _phase == Phase.Over) return;
        (_askedAt, _round) = (_time.GetTimestamp(), _round + 1);
        _answers.Clear();
        foreach (Session member in Members) member.Link.Send(new Explain(_round));
        if (!Members.Any()) Explain();
    }

    private void Answered(Session session, Explained explained)
    {
        if (_askedAt is null || explained.Round != _round) return;
        _answers[session] = explained;
        if (_answers.Count == Members.Count()) Explain();
    }

    // The nearest cause first: whoever doesn't answer, then servers and what they lack, then everybody's own word.
    private void Explain()
    {
        _askedAt = null;
        string since = _isStalled ? $"nothing has happened for {_time.GetElapsedTime(_seenAt).TotalSeconds:0} s: " : "";
        _events.Warn(since + Picture());
        foreach (Session silent in Members.Where(m => !_answers.ContainsKey(m))) _events.Warn($"  {silent.Member} does not answer{Owes(silent)}");
        foreach (Session lacking in Members.Where(m => _answers.TryGetValue(m, out Explained? a) && a.Shards.Length > 0)) _events.Warn($"  {lacking.Member}: {Lacks(_answers[lacking])}");
        foreach (Session other in Members)
        {
            if (_answers.TryGetValue(other, out Explained? answer) && answer.Shards.Length == 0) _events.Warn($"  {other.Member}: {Safe(answer.Doing)}{Owes(other)}");
        }
    }

    private string Picture() => _phase switch
    {
        Phase.Forming => string.Create(CultureInfo.InvariantCulture, $"waiting for members: {Workers.Count()} of {_plan.Workers} workers and {Servers.Count()} of {_plan.Servers * (1 + _plan.Replicas)} servers have joined"),
        Phase.Regrouping => "waiting for a parameter server",
        Phase.Accepting => $"term {_term} waits for {Names(_candidates.Where(c => !_accepted.Contains(c.Member!.Id)))} to accept it",
        Phase.Owning => $"term {_term} waits for {Names(Holders.Where(h => !h.IsFilling && !_owned.Contains(h.Member!.Id)))} to take their partition of step {_plan.FirstVersion}",
        Phase.Training when _evaluating >= 0 => $"step {_evaluating} is being evaluated by {Names(_evaluators.Select(e => e.Worker))}",
        Phase.Training => $"step {_clock.Committed} of {_plan.TotalSteps} is in hand, steps below {_clock.Granted} may be done{Held()}",
        _ => "the job is ending",
    };

    private string Held() => _clock.Committed < _clock.Granted ? ""
        : _verifying is { } verified ? $"; nothing beyond before step {verified.Step} is verified"
        : _clock.IsHeld ? "; nothing beyond before that is saved, because servers come or go"
        : _clock.CopiesAreMade ? "; nothing beyond before a second copy is made"
        : Unsaved() is { Count: > 0 } unsaved ? $"; nothing beyond before the checkpoint{(unsaved.Count == 1 ? "" : "s")} at step {string.Join(" and ", unsaved)} {(unsaved.Count == 1 ? "is" : "are")} written"
        : "";

    private List<long> Unsaved() => [.. _asked.Where(v => !_saved.Contains(v)).Order()];

    private string Lacks(Explained answer)
    {
        string buckets = answer.Buckets.Length switch
        {
            0 => "",
            1 => $" in bucket {answer.Buckets[0]}",
            _ => $" in buckets {string.Join(", ", answer.Buckets.Take(8))}{(answer.Buckets.Length > 8 ? $" and {answer.Buckets.Length - 8} more" : "")}",
        };
        IEnumerable<string> owing = answer.Shards.GroupBy(s => Assignments().FirstOrDefault(a => s >= a.Shards.Lo && s < a.Shards.Hi).Worker)
            .Select(g => $"shard{(g.Count() == 1 ? "" : "s")} {string.Join(", ", g)} of {g.Key?.Member?.ToString() ?? "no worker"}");
        return $"step {answer.Step} waits for {string.Join(" and ", owing.Take(16))}{buckets}";
    }

    private string Owes(Session session) =>
        session.Partition >= 0 ? $" ({(session.IsReplica ? "second copy of " : "")}partition {session.Partition})"
        : _phase == Phase.Training && _assigned.TryGetValue(session.Member!.Id, out var shards) && shards.Length > 0 ? $" (shards {shards})"
        : "";

    private static string Names(IEnumerable<Session> sessions) => string.Join(", ", sessions.Select(s => s.Member!.ToString())) is { Length: > 0 } names ? names : "nobody";

    // A peer's words, as they may be printed.
    private static string Safe(string text) =>
        new([.. text.Take(MostText).Select(c => char.IsControl(c) ? ' ' : c)]);
}
