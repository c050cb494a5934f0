using System.Collections.Immutable;
using DistTrain.Core;
using DistTrain.Core.Messages;
using DistTrain.Core.Sharding;

namespace DistTrain.Training.Coordinator;

/// <content>
/// Stragglers, where steps wait for each other: when a step is overdue, servers say which shards they lack, and workers that owe
/// none compute them too. Whoever's segments come first count; both have the same bits.
/// </content>
public sealed partial class Coordinator
{
    private static readonly TimeSpan BetweenNotes = TimeSpan.FromMinutes(1);

    private readonly StepPatience _patience;
    private readonly SortedSet<int> _missing = [];
    private readonly HashSet<int> _unheard = [];
    // Whom others' shards were given to: of steps while an order holds, and of the evaluation.
    private readonly Dictionary<MemberId, ImmutableSortedSet<int>> _computingToo = [];
    private readonly Dictionary<MemberId, ImmutableSortedSet<int>> _evaluatingToo = [];
    private readonly Dictionary<MemberId, long> _noted = [];
    private List<(Session Worker, ShardRange Shards)> _evaluators = [];
    private AssistOrder? _order;
    private (long Step, bool Evaluation) _askedFor = (-1, false);
    private long _assistedShards;

    // What there is to wait for, after the clock moved: the evaluation, or the step in hand.
    private void TakeInHand()
    {
        if (!_plan.Assists || _phase != Phase.Training) return;
        if (_evaluating >= 0) _patience.Begin(_evaluating);
        else if (_clock.Committed < _clock.Granted) _patience.Begin(_clock.Committed);
    }

    private void StepDone(long step)
    {
        _patience.Done();
        if (_order?.Covers(step) == true) _assistedShards += _order.Shards.Count;
        if (_order?.Covers(step + 1) != true) _computingToo.Clear();
    }

    private void EvaluationOver()
    {
        _patience.Done(counts: false);
        _evaluatingToo.Clear();
    }

    private void LookForStragglers()
    {
        bool evaluation = _evaluating >= 0;
        // Shards that are computed twice take their time.
        double steps = evaluation ? StepsOfAnEvaluation : _clock.Verifying == _patience.InHand ? 2 : 1;
        if (!_patience.IsOverdue(steps, IsFirst(_patience.InHand, evaluation))) return;
        _patience.WaitOn();
        _askedFor = (_patience.InHand, evaluation);
        _missing.Clear();
        _unheard.Clear();
        foreach (Session server in evaluation ? _servers[..1] : _servers)
        {
            _unheard.Add(server.Partition);
            server.Link.Send(new MissingAsked(_term, _askedFor.Step, evaluation));
        }
    }

    // The evaluation, or the short mini-batch, that ends the first epoch.
    private bool IsFirst(long inHand, bool evaluation)
    {
        long end = ((_plan.FirstVersion / _plan.StepsPerEpoch) + 1) * _plan.StepsPerEpoch;
        return evaluation ? inHand <= end : inHand == end - 1;
    }

    private double StepsOfAnEvaluation => Math.Max(1, (double)_plan.Data.TestExamples * _plan.StepsPerEpoch / Math.Max(1, _plan.Data.TrainExamples));

    private void Missing(ShardsMissing missing)
    {
        if ((missing.Step, missing.Evaluation) != _askedFor || !_unheard.Remove(missing.Partition)) return;
        _missing.UnionWith(missing.Shards.Where(s => s >= 0 && s < _plan.Shards));
        bool current = missing.Evaluation ? _evaluating == missing.Step : _evaluating < 0 && _clock.Committed == missing.Step;
        if (_unheard.Count == 0 && _missing.Count > 0 && current) Assist(missing.Step, missing.Evaluation);
    }

    private void Assist(long step, bool evaluation)
    {
        List<(Session Worker, ShardRange Shards)> shares = evaluation ? _evaluators : [.. Assignments()];
        List<(Session Worker, ShardRange Shards)> lagging = [.. shares.Where(s => _missing.Overlaps(Of(s.Shards)))];
        Dictionary<MemberId, ImmutableSortedSet<int>> help = evaluation ? _evaluatingToo : _computingToo;
        // One that was asked before and hasn't delivered lags, too.
        List<Session> helpers = [.. Computing.Where(w => lagging.All(l => l.Worker != w) && !_missing.Overlaps(Given(w)))];
        if (lagging.Count == 0 || helpers.Count == 0) return;
        MemberId[] who = [.. lagging.Select(l => l.Worker.Member!.Id)];
        long steps = evaluation ? 1 : AssistOrder.StepsAfter(_order, step, who);
        // A second order for the same step adds to the first.
        AssistOrder? first = !evaluation && _order?.Covers(step) == true ? _order : null;
        long until = Math.Max(step + steps, first?.Until ?? 0);
        // What a lagging worker pushed of this step tells nothing of the steps after it.
        int[] shards = steps == 1 ? [.. _missing] : [.. lagging.SelectMany(l => Of(l.Shards)).Order()];
        var parts = new List<(Session Helper, ImmutableArray<int> Shards)>();
        for (int i = 0; i < helpers.Count; i++)
        {
            ShardRange part = ShardSlice.ForWorker(shards.Length, helpers.Count, i);
            if (part.Length == 0) continue;
            parts.Add((helpers[i], [.. shards[part.Lo..part.Hi]]));
            ImmutableSortedSet<int> all = help[helpers[i].Member!.Id] = Given(helpers[i]).Union(parts[^1].Shards);
            helpers[i].Link.Send(evaluation ? new Evaluate(_term, step, parts[^1].Shards) : new Assist(_term, step, until, [.. all]));
        }

        if (!evaluation) _order = new AssistOrder(step, until, [.. who, .. first?.Lagging ?? []], [.. shards, .. first?.Shards ?? []]);
        foreach ((Session worker, ShardRange own) in lagging) Note(worker, own, step, evaluation, parts);

        ImmutableSortedSet<int> Given(Session worker) => help.GetValueOrDefault(worker.Member!.Id, []);
    }

    private void Note(Session worker, ShardRange own, long step, bool evaluation, List<(Session Helper, ImmutableArray<int> Shards)> parts)
    {
        MemberId id = worker.Member!.Id;
        if (_noted.TryGetValue(id, out long last) && _time.GetElapsedTime(last) < BetweenNotes) return;
        _noted[id] = _time.GetTimestamp();
        IEnumerable<string> who = parts
            .Select(p => (p.Helper, Shards: p.Shards.Where(s => s >= own.Lo && s < own.Hi).ToList()))
            .Where(p => p.Shards.Count > 0)
            .Select(p => $"{Text(p.Shards)} by worker {p.Helper.Member!.Id}");
        _events.Noted($"{worker.Member} lags {(evaluation ? "in the evaluation of" : "at")} step {step}: shards {string.Join(", ", who)} are computed a second time, and the first to arrive count");
    }

    private static string Text(List<int> shards) =>
        shards[^1] - shards[0] == shards.Count - 1 ? new ShardRange(shards[0], shards[^1] + 1).ToString() : string.Join(" ", shards);

    // Everybody's share changed: orders for the old ones are over, at the workers too.
    private void ForgetOrders()
    {
        _order = null;
        _askedFor = (-1, false);
        _computingToo.Clear();
        _evaluatingToo.Clear();
    }

    // Who lags in steps isn't waited for in evaluations between them.
    private void ShareOutEvaluation()
    {
        List<Session> able = [.. Computing.Where(w => _order?.Covers(_evaluating) != true || !_order.Lagging.Contains(w.Member!.Id))];
        if (able.Count == 0) able = [.. Computing];
        _evaluators = [.. able.Select((w, i) => (w, ShardSlice.ForWorker(_plan.Shards, able.Count, i)))];
    }

    private static IEnumerable<int> Of(ShardRange range) => Enumerable.Range(range.Lo, range.Length);
}
