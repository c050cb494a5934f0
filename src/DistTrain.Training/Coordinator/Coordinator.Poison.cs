using System.Collections.Immutable;
using DistTrain.Core;
using DistTrain.Core.Sharding;

namespace DistTrain.Training.Coordinator;

/// <content>
/// Shards that end whoever computes them (a bad file, a bug in a layer): found by the trail of workers that died at one step with the same shard
/// in hand. Two that said what broke them are enough; of deaths without a word, which may have causes outside, it takes more.
/// </content>
public sealed partial class Coordinator
{
    private const int TellingDeaths = 2, SilentDeaths = 5;

    private readonly Dictionary<MemberId, ShardRange> _assigned = [];
    private readonly HashSet<MemberId> _broken = [];
    private readonly List<(Member Worker, ShardRange Shards, string Cause, bool Told)> _trail = [];
    private long _trailStep = -1;

    private void FollowTrail(Member worker, string cause)
    {
        if (_trailStep != _clock.Committed) _trail.Clear();
        _trailStep = _clock.Committed;
        ShardRange shards = _assigned.GetValueOrDefault(worker.Id);
        _assigned.Remove(worker.Id);
        if (shards.Length == 0) return;
        _trail.Add((worker, shards, cause, _broken.Remove(worker.Id)));
        List<int> suspects = [.. Of(shards).Where(IsPoison)];
        if (suspects.Count == 0) return;
        string deaths = string.Join("; ", _trail.Where(d => suspects.Exists(s => s >= d.Shards.Lo && s < d.Shards.Hi)).Select(d => $"{d.Worker}: {d.Cause}"));
        Finish(ExitCode.Internal, $"shard{(suspects.Count == 1 ? "" : "s")} {Text(suspects)} of step {_trailStep} ended every worker that computed {(suspects.Count == 1 ? "it" : "them")}: {deaths}; {Standing}");
    }

    private bool IsPoison(int shard)
    {
        List<(Member Worker, ShardRange Shards, string Cause, bool Told)> dead = [.. _trail.Where(d => shard >= d.Shards.Lo && shard < d.Shards.Hi)];
        return dead.Count(d => d.Told) >= TellingDeaths || dead.Count >= SilentDeaths;
    }
}
