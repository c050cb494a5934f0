using System.Collections.Immutable;
using DistTrain.Core;
using DistTrain.Core.Actors;
using DistTrain.Core.Messages;
using DistTrain.Training.Coordinator;

namespace DistTrain.Training.Tests.Coordinator;

/// <summary>Shards that are computed twice: what the coordinator makes of their bits.</summary>
public class VerifyTests
{
    private static readonly ImmutableArray<ulong> Right = [1, 2, 3], Wrong = [1, 9, 3];

    private readonly List<Rig.Link> _servers = [];
    private readonly List<Rig.Link> _workers = [];

    [Fact]
    public void Step_ThatIsVerified_IsTheLastThatIsGrantedUntilAllAreTheSame()
    {
        Rig rig = Start(3);
        Assert.Equal(1, _workers[0].Last<Clock>().GrantedUntil);
        Assert.Equal([0, 1, 2, 3], Orders().SelectMany(o => o.Order.Apart).Order());
        Assert.Equal([0, 1, 2, 3], Orders().SelectMany(o => o.Order.Again).Order());

        TellAll(rig, 0, (_, _) => Right, but: 1);
        rig.Say(_servers[0], rig.Applied(_servers[0], 0));
        Assert.Equal(1, _workers[0].Last<Clock>().GrantedUntil);
        TellAll(rig, 0, (_, _) => Right);

        Assert.Equal(2, _workers[0].Last<Clock>().GrantedUntil);
        Assert.Equal(1, Orders()[0].Order.Step);
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void Shard_WithOtherBits_IsDecidedByAThirdWorker(bool ownIsWrong)
    {
        Rig rig = Start(3);
        (Rig.Link own, Rig.Link second, Rig.Link third) = Of(1);
        TellAll(rig, 0, (worker, shard) => shard == 1 && worker == (ownIsWrong ? own : second) ? Wrong : Right);
        Assert.Contains(rig.Events, e => e is string said && said.StartsWith($"shard 1 of step 0 has other bits on {Name(own)} than on {Name(second)}, in bucket 1; {Name(third)} decides", StringComparison.Ordinal));
        Assert.Equal((0L, 0, 1), (third.Last<Verify>().Step, third.Last<Verify>().Apart.Length, Assert.Single(third.Last<Verify>().Again)));
        rig.Kept = (0, default);
        int term = _servers[0].Sent.OfType<AcceptTerm>().Count();

        rig.Say(third, new ShardComputed(rig.Term, 0, 1, Right));

        Rig.Link wrong = ownIsWrong ? own : second, other = ownIsWrong ? second : own;
        Assert.StartsWith($"computed shard 1 of step 0 wrong: bucket 1 differs from what {Name(other)} and {Name(third)} have", Assert.IsType<Refused>(wrong.Sent[^1]).Reason, StringComparison.Ordinal);
        Assert.True(wrong.Closed);
        // What else it pushed of the step is worth no more: back to where the weights were right, whatever servers hold.
        Assert.Equal(term + 1, _servers[0].Sent.OfType<AcceptTerm>().Count());
        rig.Lead(_servers, 0);
        Assert.Contains("went back to 0", rig.Events);
        Assert.False(_servers[0].Last<OwnPartition>().Keep);
        Assert.Equal([0, 1, 2, 3], new[] { other, third }.SelectMany(w => w.Last<Assignment>().Shards).Order());
        Assert.True(other.Last<Clock>().GrantedUntil >= 1);
        // The same process gets no second chance; another one of that host does.
        Rig.Link again = rig.Open();
        rig.Say(again, new JoinRequest(MemberRole.Worker, "host", 100 + _workers.IndexOf(wrong), 77, Protocol.Version, 1, ""));
        Assert.IsType<Refused>(again.Sent[^1]);
        rig.Join(MemberRole.Worker, 500);
    }

    // What is written must be what was verified.
    [Fact]
    public void Checkpoint_BehindAVerifiedStep_WaitsForIt()
    {
        Rig rig = Start(2, checkpointEvery: 1);
        rig.Say(_servers[0], rig.Applied(_servers[0], 0));
        Assert.Empty(rig.Expected);
        Assert.Empty(_servers[0].Last<Clock>().Checkpoints);

        TellAll(rig, 0, (_, _) => Right);

        Assert.Equal([1], rig.Expected);
        Assert.Equal([1], _servers[0].Last<Clock>().Checkpoints.AsEnumerable());
    }

    [Fact]
    public void Shard_WithOtherBitsOnTheOnlyTwoWorkers_IsToldAndGoneOnFrom()
    {
        Rig rig = Start(2, steps: 1);
        TellAll(rig, 0, (worker, shard) => worker == _workers[0] && shard is 1 or 2 ? Wrong : Right);

        Assert.Single(rig.Events, e => e is string said && said.Contains("a third worker would tell which", StringComparison.Ordinal));
        rig.Say(_servers[0], rig.Applied(_servers[0], 0));
        rig.Tell(new CheckpointWritten(1, "run"));
        rig.Time.Advance(TimeSpan.FromSeconds(1));
        rig.Tell(new Tick());
        Assert.Equal(ExitCode.Done, rig.Outcome!.Exit);
        Assert.Contains(rig.Events, e => e is string said && said.Contains("don't trust these weights", StringComparison.Ordinal));
        Assert.Equal((2, 2), (rig.Outcome.VerifiedShards, rig.Outcome.UnequalShards));
    }

    [Fact]
    public void ThirdWorker_ThatCantTell_LeavesItUndecided()
    {
        Rig rig = Start(3);
        (Rig.Link own, _, Rig.Link third) = Of(1);
        TellAll(rig, 0, (worker, shard) => worker == own && shard == 1 ? Wrong : Right);
        rig.Say(third, new ShardComputed(rig.Term, 0, 1, []));

        Assert.Contains(rig.Events, e => e is string said && said.Contains("which is wrong can't be told", StringComparison.Ordinal));
        Assert.Equal(2, own.Last<Clock>().GrantedUntil);
    }

    [Fact]
    public void Worker_ThatDoesNotTell_IsNotWaitedForLong()
    {
        Rig rig = Start(3);
        TellAll(rig, 0, (_, _) => Right, but: 1);
        // The step took ten seconds: that the rest takes as long is nothing to speak of.
        rig.Time.Advance(TimeSpan.FromSeconds(10));
        rig.Say(_servers[0], rig.Applied(_servers[0], 0));
        rig.Time.Advance(TimeSpan.FromSeconds(12.9));
        rig.Tell(new Tick());
        Assert.Equal(1, _workers[0].Last<Clock>().GrantedUntil);

        rig.Time.Advance(TimeSpan.FromSeconds(0.2));
        rig.Tell(new Tick());

        Assert.Contains(rig.Events, e => e is string said && said.StartsWith("step 0 is not verified: ", StringComparison.Ordinal));
        Assert.Equal(2, _workers[0].Last<Clock>().GrantedUntil);
    }

    [Fact]
    public void Worker_LostMeanwhile_EndsTheVerificationOfTheStep()
    {
        Rig rig = Start(3);
        rig.Close(_workers[2], "killed");
        Assert.Equal(2, _workers[0].Last<Clock>().GrantedUntil);
        Assert.Equal(1, _workers[0].Last<Verify>().Step);
        TellAll(rig, 0, (_, _) => Wrong);
        Assert.Equal(2, _workers[0].Last<Clock>().GrantedUntil);
    }

    // Nobody's word counts that wasn't asked for, nor a second one.
    [Fact]
    public void Shard_ToldByOthersThanThoseWhoWereAsked_IsNothing()
    {
        Rig rig = Start(3);
        (Rig.Link own, Rig.Link second, Rig.Link third) = Of(1);
        int events = rig.Events.Count;
        rig.Say(own, new ShardComputed(rig.Term, 0, 1, Right));
        rig.Say(own, new ShardComputed(rig.Term, 0, 1, Wrong));
        rig.Say(third, new ShardComputed(rig.Term, 0, 1, Wrong));
        rig.Say(second, new ShardComputed(rig.Term, 7, 1, Wrong));
        rig.Say(second, new ShardComputed(rig.Term - 1, 0, 1, Wrong));
        rig.Say(second, new ShardComputed(rig.Term, 0, 400, Wrong));
        rig.Say(_servers[0], new ShardComputed(rig.Term, 0, 1, Wrong));
        rig.Say(second, new ShardComputed(rig.Term, 0, 1, Right));
        Assert.Equal(events, rig.Events.Count);
        TellAll(rig, 0, (_, _) => Right);
        Assert.Equal(2, own.Last<Clock>().GrantedUntil);
    }

    private Rig Start(int workers, long steps = 20, long checkpointEvery = 0)
    {
        var rig = new Rig(StepClockTests.Plan(totalSteps: steps, workers: workers, evaluates: false, checkpointEvery: checkpointEvery) with { Verify = 1, Seed = 3 });
        _servers.Add(rig.Join(MemberRole.Server));
        for (int w = 0; w < workers; w++) _workers.Add(rig.Join(MemberRole.Worker, 100 + w));
        rig.Lead(_servers, 0);
        return rig;
    }

    private string Name(Rig.Link worker) => $"worker {worker.Member} (pid {100 + _workers.IndexOf(worker)} on host)";

    private List<(Rig.Link Worker, Verify Order)> Orders() => [.. _workers.Select(w => (w, w.Last<Verify>()))];

    private (Rig.Link Own, Rig.Link Second, Rig.Link Third) Of(int shard)
    {
        Rig.Link own = Orders().Single(o => o.Order.Apart.Contains(shard)).Worker, second = Orders().Single(o => o.Order.Again.Contains(shard)).Worker;
        return (own, second, _workers.Single(w => w != own && w != second));
    }

    // All workers tell of all that they were asked for, or of all but some.
    private void TellAll(Rig rig, long step, Func<Rig.Link, int, ImmutableArray<ulong>> digests, int but = 0)
    {
        List<(Rig.Link Worker, int Shard)> all = [.. Orders().Where(o => o.Order.Step == step).SelectMany(o => o.Order.Apart.Concat(o.Order.Again).Select(s => (o.Worker, s)))];
        foreach ((Rig.Link worker, int shard) in all.SkipLast(but)) rig.Say(worker, new ShardComputed(rig.Term, step, shard, digests(worker, shard)));
    }
}
