using System.Collections.Immutable;
using DistTrain.Core;
using DistTrain.Core.Messages;
using DistTrain.Core.Sharding;

namespace DistTrain.Training.Coordinator;

/// <content>
/// Silent corruption: some shards are computed a second time by another worker, and because a shard's bits depend on nothing but the job (I1), unequal ones
/// mean that one of the two is wrong. A third worker decides which, while the step's weights are still there: nothing beyond
/// the step is granted, or saved, before. What the wrong one pushed of its own counted: the job goes on from its last checkpoint.
/// </content>
public sealed partial class Coordinator
{
    private readonly HashSet<(string Host, int Pid)> _distrusted = [];
    private StepVerification? _verifying;
    // When two workers' bits were last spoken of.
    private readonly Dictionary<(int, int), long> _differing = [];
    private long _verifiedShards;
    private long _unequalShards;
    private long _undecidedShards;

    private bool IsDistrusted(Session session) => session.Member is { } member && _distrusted.Contains((member.Host, member.Pid));

    private StepClock NewClock(bool evaluatesFirst = false) => new(_plan, evaluatesFirst) { Verifies = IsVerified, LeavesOut = LeavesOut };

    private bool IsVerified(long step) => _plan.Verify > 0 && VerifyChoice.IsChosen(_plan.Seed, step, _plan.Verify, _plan.Shards, Computing.Count());

    // Before the clock that grants the step.
    private void OrderVerification()
    {
        if (_clock.Verifying is not { } step || _verifying?.Step == step) return;
        List<(Session Worker, ShardRange Shards)> shares = [.. Assignments()];
        ImmutableArray<ImmutableArray<int>> again = VerifyChoice.Again(_plan.Seed, step, VerifyChoice.PerWorker(_plan.Verify, _plan.Shards, shares.Count), [.. shares.Select(s => s.Shards)]);
        int[] all = [.. again.SelectMany(a => a).Order()];
        var verified = new List<VerifiedShard>();
        for (int i = 0; i < shares.Count; i++)
        {
            (Session worker, ShardRange own) = shares[i];
            foreach (int shard in again[i]) verified.Add(new VerifiedShard(shard, shares.First(s => s.Shards.Lo <= shard && shard < s.Shards.Hi).Worker.Member!.Id, worker.Member!.Id));
            worker.Link.Send(new Verify(_term, step, [.. all.Where(s => s >= own.Lo && s < own.Hi)], again[i]));
        }

        _verifying = new StepVerification(step, _time.GetTimestamp(), verified);
    }

    private void Computed(Session worker, ShardComputed computed)
    {
        if (_verifying is not { } verifying || verifying.Step != computed.Step) return;
        foreach (VerifiedShard shard in verifying.Shards.Where(s => s.Shard == computed.Shard))
        {
            switch (shard.Take(worker.Member!.Id, computed.Digests))
            {
                case Verdict.Same:
                    shard.Close();
                    _verifiedShards++;
                    break;
                case Verdict.Unequal:
                    AskThird(verifying, shard);
                    break;
                case Verdict.Decided:
                    shard.Close();
                    Distrust(verifying, shard);
                    return;
                case Verdict.Undecided:
                    shard.Close();
                    _undecidedShards++;
                    _events.Warn($"{Difference(verifying, shard)}, and {Name(shard.Third!.Value)} has other bits than both: which is wrong can't be told");
                    break;
            }
        }

        if (verifying.IsClosed) EndVerification();
    }

    private void AskThird(StepVerification verifying, VerifiedShard shard)
    {
        _unequalShards++;
        var pair = (Math.Min(shard.Own.Value, shard.Second.Value), Math.Max(shard.Own.Value, shard.Second.Value));
        bool quiet = _differing.TryGetValue(pair, out long last) && _time.GetElapsedTime(last) < BetweenNotes;
        if (!quiet) _differing[pair] = _time.GetTimestamp();
        if (Computing.FirstOrDefault(w => w.Member!.Id != shard.Own && w.Member.Id != shard.Second) is not { } third)
        {
            shard.Close();
            _undecidedShards++;
            if (!quiet) _events.Warn($"{Difference(verifying, shard)}: one of them is wrong; a third worker would tell which");
            return;
        }

        shard.Ask(third.Member!.Id);
        if (!quiet) _events.Warn($"{Difference(verifying, shard)}; {third.Member} decides");
        third.Link.Send(new Verify(_term, verifying.Step, [], [shard.Shard]));
    }

    private void Distrust(StepVerification verifying, VerifiedShard shard)
    {
        Session wrong = _sessions.Values.First(s => s.Member?.Id == shard.Wrong);
        MemberId other = shard.Wrong == shard.Own ? shard.Second : shard.Own;
        string cause = $"computed shard {shard.Shard} of step {verifying.Step} wrong: {Text(shard.Buckets)} differ{(shard.Buckets.Length == 1 ? "s" : "")} from what {Name(other)} and {Name(shard.Third!.Value)} have";
        _distrusted.Add((wrong.Member!.Host, wrong.Member.Pid));
        FallBack();
        _sharesOut = true;
        _membership.Remove(wrong.Member.Id, cause);
    }

    // Everybody's share changed, or somebody takes too long.
    private void DropVerification()
    {
        if (_verifying is null) return;
        foreach (VerifiedShard shard in _verifying.Shards) shard.Close();
        EndVerification();
    }

    private void EndVerification()
    {
        _clock.Verified(_verifying!.Step);
        _verifying = null;
        _clock.Grant();
        SendClock();
        EndWhenDone();
    }

    // What is known to be wrong in the weights, and can't be helped.
    private void TellUndecided()
    {
        if (_undecidedShards == 0) return;
        _events.Warn($"{_undecidedShards} shard{(_undecidedShards == 1 ? "" : "s")} came out differently on two workers, and which was right is not known: don't trust these weights");
    }

    // Whoever is late is what other rules are for: steps don't wait for being verified.
    private void LookForLateVerification()
    {
        if (_verifying is not { Committed: { } committed } verifying) return;
        TimeSpan patience = _time.GetElapsedTime(verifying.Ordered, committed) + _plan.FailureTimeout;
        if (_time.GetElapsedTime(committed) < patience) return;
        _events.Warn($"step {verifying.Step} is not verified: {string.Join(", ", verifying.Shards.Where(s => !s.IsClosed).Select(s => s.Third ?? s.Second).Distinct().Select(Name))} did not say in time what came out of shards {string.Join(" ", verifying.Shards.Where(s => !s.IsClosed).Select(s => s.Shard))}");
        DropVerification();
    }

    private string Difference(StepVerification verifying, VerifiedShard shard) =>
        $"shard {shard.Shard} of step {verifying.Step} has other bits on {Name(shard.Own)} than on {Name(shard.Second)}, in {Text(shard.Buckets)}";

    private string Name(MemberId member) => _sessions.Values.FirstOrDefault(s => s.Member?.Id == member)?.Name ?? $"member {member}";

    private static string Text(ImmutableArray<int> buckets) => buckets.Length switch
    {
        0 => "all buckets",
        1 => $"bucket {buckets[0]}",
        _ => $"buckets {string.Join(", ", buckets)}",
    };
}
