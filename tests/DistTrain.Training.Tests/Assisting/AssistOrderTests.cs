using DistTrain.Core;
using DistTrain.Core.Messages;
using DistTrain.Training.Coordinator;
using DistTrain.Training.Tests.Coordinator;

namespace DistTrain.Training.Tests.Assisting;

/// <summary>What the coordinator orders when a step takes too long.</summary>
public class AssistOrderTests
{
    private readonly Rig _rig = new(Plan());
    private List<Rig.Link> _servers = [];
    private List<Rig.Link> _workers = [];
    private long _step;

    // Four shards: worker 3 has shard 0, worker 4 shard 1, worker 5 shards 2 and 3 (members 1 and 2 are servers).
    private static TrainingPlan Plan(bool evaluates = false) =>
        StepClockTests.Plan(totalSteps: 1000, stepsPerEpoch: 100, evaluates: evaluates, workers: 3, servers: 2) with { Assists = true };

    private void Start(int steps = 20, int milliseconds = 10)
    {
        (_servers, _workers) = _rig.Start();
        for (int i = 0; i < steps; i++) Commit(milliseconds);
    }

    private void Commit(int milliseconds)
    {
        _rig.Time.Advance(TimeSpan.FromMilliseconds(milliseconds));
        foreach (Rig.Link server in _servers) _rig.Say(server, _rig.Applied(server, _step));
        _step++;
    }

    private void Tick(int milliseconds)
    {
        _rig.Time.Advance(TimeSpan.FromMilliseconds(milliseconds));
        _rig.Tell(new Tick());
    }

    private void Lack(params int[] shards)
    {
        for (int p = 0; p < _servers.Count; p++)
        {
            _rig.Say(_servers[p], new ShardsMissing(_rig.Term, p, _step, false, [.. p == 0 ? shards : shards[..1]]));
        }
    }

    private Assist? Order(int worker) => _workers[worker].Sent.OfType<Assist>().LastOrDefault();

    private int Asked => _servers[0].Sent.OfType<MissingAsked>().Count();

    [Fact]
    public void Step_OverdueByTheMedian_HasServersAsked()
    {
        Start(milliseconds: 100);
        Tick(299);
        Assert.Equal(0, Asked);
        Tick(2);
        Assert.Equal(new MissingAsked(_rig.Term, 20, false), _servers[0].Last<MissingAsked>());
        Assert.Equal(new MissingAsked(_rig.Term, 20, false), _servers[1].Last<MissingAsked>());
    }

    [Theory]
    [InlineData(20, 1, 49, 0)] // short steps: a twentieth of a second at least
    [InlineData(20, 1, 51, 1)]
    [InlineData(4, 1, 10_000, 0)] // too few steps to know
    [InlineData(5, 1, 10_000, 1)]
    public void Step_IsOverdue_OnlyBeyondWhatIsUsual(int steps, int milliseconds, int waited, int asked)
    {
        Start(steps, milliseconds);
        Tick(waited);
        Assert.Equal(asked, Asked);
    }

    [Fact]
    public void MissingShards_AreSharedOutOverThoseWhoOweNone()
    {
        Start();
        Tick(200);
        Lack(2, 3);
        Assert.Equal((20L, 21L), (Order(0)!.Step, Order(0)!.Until));
        Assert.Equal([2], Order(0)!.Shards.AsEnumerable());
        Assert.Equal([3], Order(1)!.Shards.AsEnumerable());
        Assert.Null(Order(2));
        string note = Assert.Single(_rig.Events.OfType<string>(), e => e.Contains("lags", StringComparison.Ordinal));
        Assert.Contains("worker 5 (pid 1000 on host) lags at step 20: shards [2,3) by worker 3, [3,4) by worker 4", note);
    }

    [Fact]
    public void Answers_OfAllPartitions_AreWaitedForAndJoined()
    {
        Start();
        Tick(200);
        _rig.Say(_servers[0], new ShardsMissing(_rig.Term, 0, _step, false, [2]));
        // Another step's, another term's, and a repeat.
        _rig.Say(_servers[1], new ShardsMissing(_rig.Term, 1, _step - 1, false, [0]));
        _rig.Say(_servers[1], new ShardsMissing(_rig.Term - 1, 1, _step, false, [0]));
        _rig.Say(_servers[0], new ShardsMissing(_rig.Term, 0, _step, false, [0]));
        Assert.Null(Order(0));
        _rig.Say(_servers[1], new ShardsMissing(_rig.Term, 1, _step, false, [3]));
        Assert.Equal([2], Order(0)!.Shards.AsEnumerable());
        Assert.Equal([3], Order(1)!.Shards.AsEnumerable());
    }

    [Fact]
    public void Nobody_WhenAllLagOrNothingIsMissing_IsOrdered()
    {
        Start();
        Tick(200);
        Lack(0, 1, 3);
        Assert.All(_workers, w => Assert.DoesNotContain(w.Sent, m => m is Assist));
        Tick(600);
        Assert.Equal(2, Asked);
        foreach (Rig.Link server in _servers) _rig.Say(server, new ShardsMissing(_rig.Term, server.Last<OwnPartition>().Partition, _step, false, []));
        Assert.All(_workers, w => Assert.DoesNotContain(w.Sent, m => m is Assist));
    }

    [Fact]
    public void Answer_AfterTheCommit_ChangesNothing()
    {
        Start();
        Tick(200);
        Commit(1);
        _step--;
        Lack(2);
        Assert.Null(Order(0));
    }

    [Fact]
    public void Helper_ThatDoesNotDeliver_IsFollowedByAnother()
    {
        Start();
        Tick(200);
        Lack(2);
        Assert.Equal([2], (Order(0) ?? Order(1))!.Shards.AsEnumerable());
        Rig.Link first = Order(0) is null ? _workers[1] : _workers[0], second = Order(0) is null ? _workers[0] : _workers[1];
        Tick(150);
        Assert.Equal(1, Asked);
        Tick(400);
        Assert.Equal(2, Asked);
        Lack(2);
        Assert.Single(first.Sent.OfType<Assist>());
        Assert.Equal([2], second.Last<Assist>().Shards.AsEnumerable());
    }

    [Fact]
    public void Worker_ThatGoesOnLagging_IsHelpedForTwiceAsManyStepsEachTime()
    {
        Start();
        var lengths = new List<long>();
        for (int i = 0; i < 8; i++)
        {
            Tick(1000);
            Lack(3);
            Assist order = _workers.SelectMany(w => w.Sent.OfType<Assist>()).MaxBy(a => a.Until)!;
            lengths.Add(order.Until - order.Step);
            // What it pushed of one step says nothing of the next ones.
            if (i > 0) Assert.Equal([2, 3], Order(0)!.Shards.Concat(Order(1)!.Shards));
            while (_step < order.Until) Commit(10);
        }

        Assert.Equal([1, 2, 4, 8, 16, 32, 32, 32], lengths);
        Assert.Single(_rig.Events.OfType<string>(), e => e.Contains("lags", StringComparison.Ordinal));
        // A step in time, and the next order is short again.
        Commit(10);
        Tick(60_000);
        Lack(3);
        Assert.Equal(_step + 1, Math.Max(Order(0)!.Until, Order(1)!.Until));
        Assert.Equal(2, _rig.Events.OfType<string>().Count(e => e.Contains("lags", StringComparison.Ordinal)));
    }

    [Fact]
    public void Assignment_EndsOrders()
    {
        Start();
        Tick(200);
        Lack(2, 3);
        _rig.Close(_workers[2], "killed");
        Assert.IsType<Assignment>(_workers[0].Sent.Last(m => m is Assist or Assignment));
        // Those who were asked before may be asked again.
        Tick(1000);
        Lack(3);
        Assert.Equal([3], Order(0)!.Shards.AsEnumerable());
    }

    [Fact]
    public void Outcome_CountsShardsOfCommittedSteps()
    {
        Start();
        Tick(200);
        Lack(2, 3);
        Commit(1);
        Tick(1000);
        Lack(3);
        Commit(1);
        Commit(1);
        Commit(1);
        _rig.Tell(new StopNow());
        foreach (Rig.Link link in _workers.Concat(_servers)) _rig.Close(link, "gone");
        Assert.Equal(2 + 2 + 2, _rig.Outcome!.AssistedShards);
    }

    [Fact]
    public void Evaluation_Overdue_IsSharedOutAgain()
    {
        var rig = new Rig(Plan(evaluates: true) with { StepsPerEpoch = 10 });
        (List<Rig.Link> servers, List<Rig.Link> workers) = rig.Start();
        void Epoch(int first)
        {
            for (int step = first; step < first + 10; step++)
            {
                rig.Time.Advance(TimeSpan.FromMilliseconds(100));
                foreach (Rig.Link server in servers) rig.Say(server, rig.Applied(server, step));
            }
        }

        Epoch(0);
        // The first one is waited for longer: code is compiled for it.
        rig.Time.Advance(TimeSpan.FromMilliseconds(990));
        rig.Tell(new Tick());
        Assert.DoesNotContain(servers[0].Sent, m => m is MissingAsked);
        rig.Say(servers[0], new EvaluationReduced(rig.Term, 10, default));
        Epoch(10);
        Assert.Equal([2, 3], workers[2].Last<Evaluate>().Shards.AsEnumerable());
        // 20 test examples of 100 that make 10 steps: as many as two steps have.
        rig.Time.Advance(TimeSpan.FromMilliseconds(590));
        rig.Tell(new Tick());
        Assert.DoesNotContain(servers[0].Sent, m => m is MissingAsked);
        rig.Time.Advance(TimeSpan.FromMilliseconds(20));
        rig.Tell(new Tick());
        Assert.Equal(new MissingAsked(rig.Term, 20, true), servers[0].Last<MissingAsked>());
        Assert.DoesNotContain(servers[1].Sent, m => m is MissingAsked);
        rig.Say(servers[0], new ShardsMissing(rig.Term, 0, 20, true, [2, 3]));
        Assert.Equal([2], workers[0].Last<Evaluate>().Shards.AsEnumerable());
        Assert.Equal([3], workers[1].Last<Evaluate>().Shards.AsEnumerable());
        rig.Say(servers[0], new EvaluationReduced(rig.Term, 20, default));
        Assert.Contains("evaluated 20", rig.Events);
    }

    [Theory]
    [InlineData(8, 60, 1)]
    [InlineData(9, 990, 0)] // the first short mini-batch: code is compiled for it
    [InlineData(9, 1010, 1)]
    [InlineData(19, 60, 1)]
    public void Step_OfAnotherSizeForTheFirstTime_IsWaitedForLonger(int done, int waited, int asked)
    {
        var rig = new Rig(Plan() with { StepsPerEpoch = 10 });
        (List<Rig.Link> servers, _) = rig.Start();
        for (int step = 0; step < done; step++)
        {
            rig.Time.Advance(TimeSpan.FromMilliseconds(10));
            foreach (Rig.Link server in servers) rig.Say(server, rig.Applied(server, step));
        }

        rig.Time.Advance(TimeSpan.FromMilliseconds(waited));
        rig.Tell(new Tick());
        Assert.Equal(asked, servers[0].Sent.OfType<MissingAsked>().Count());
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Jobs_WhoseSegmentsDependOnTheWorker_OrThatDoNotWait_OrderNothing(bool free)
    {
        var rig = new Rig(Plan() with { Assists = false, Consistency = free ? Consistency.Ssp(3) : Consistency.Sync });
        (List<Rig.Link> servers, _) = rig.Start();
        for (int step = 0; step < 6; step++)
        {
            foreach (Rig.Link server in servers) rig.Say(server, rig.Applied(server, step));
        }

        rig.Time.Advance(TimeSpan.FromMinutes(1));
        rig.Tell(new Tick());
        Assert.DoesNotContain(servers[0].Sent, m => m is MissingAsked);
    }
}
