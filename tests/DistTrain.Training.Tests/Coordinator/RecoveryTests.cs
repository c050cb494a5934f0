using DistTrain.Core;
using DistTrain.Core.Actors;
using DistTrain.Core.Messages;
using DistTrain.Core.Sharding;
using DistTrain.Training.Coordinator;

namespace DistTrain.Training.Tests.Coordinator;

/// <summary>What the coordinator makes of losses: who goes on, from where, under which term.</summary>
public class RecoveryTests
{
    private readonly Rig _rig = new(StepClockTests.Plan(servers: 2, stepsPerEpoch: 100, totalSteps: 100));

    [Fact]
    public void LastWorker_ThatIsLost_IsWaitedForAndReplaced()
    {
        (_, List<Rig.Link> workers) = _rig.Start();
        _rig.Close(workers[0], "a");
        _rig.Close(workers[1], "b");
        _rig.Tell(new Tick());
        Assert.Null(_rig.Outcome);
        Assert.Contains("waiting for a worker, for 60 s at most; there is no checkpoint yet", _rig.Events);

        Rig.Link late = _rig.Join(MemberRole.Worker);

        Assert.Equal([0, 1, 2, 3], late.Last<Assignment>().Shards.AsEnumerable());
        _rig.Time.Advance(TimeSpan.FromSeconds(100));
        _rig.Tell(new Tick());
        Assert.Null(_rig.Outcome);
    }

    [Fact]
    public void LastWorker_ThatIsNotReplaced_EndsTheJobWithWhatStands()
    {
        (List<Rig.Link> servers, List<Rig.Link> workers) = _rig.Start();
        _rig.Tell(new CheckpointWritten(50, "runs/x"));
        foreach (Rig.Link worker in workers) _rig.Close(worker, "killed");
        _rig.Tell(new Tick());
        _rig.Time.Advance(TimeSpan.FromSeconds(61));
        _rig.Tell(new Tick());

        Assert.Equal(ExitCode.ClusterLost, servers[0].Last<Stop>().Exit);
        Assert.Equal("waited 60 s for a worker; the checkpoint at step 50 stands", servers[0].Last<Stop>().Reason);
    }

    [Fact]
    public void Server_ThatIsLost_LeavesTheModelToTheOthersFromTheLastCheckpoint()
    {
        (List<Rig.Link> servers, List<Rig.Link> workers) = _rig.Start();
        long term = _rig.Term;
        Commit(servers, 0, 3);
        _rig.Kept = (2, default);
        _rig.Close(servers[0], "killed");
        Assert.True(servers[1].Last<AcceptTerm>().Term > term);
        _rig.Lead([servers[1]], 2);

        Assert.Contains("went back to 2", _rig.Events);
        Assert.Contains("1 parameter server of 2: the job goes on from the checkpoint at step 2; 1 step is computed again", _rig.Events);
        OwnPartition own = servers[1].Last<OwnPartition>();
        Assert.Equal((0, 1, 2L), (own.Partition, own.Partitions, own.Version));
        Assert.Equal((_rig.Term, 1), (workers[0].Last<Topology>().Term, workers[0].Last<Topology>().Servers.Length));
        Assert.Equal([0, 1, 2, 3], workers.SelectMany(w => w.Last<Assignment>().Shards));
        Assert.Equal((2L, _rig.Term), (workers[0].Last<Clock>().CommittedVersion, workers[0].Last<Clock>().Term));

        // What the old term has to say counts no more.
        int commits = _rig.Events.OfType<long>().Count();
        _rig.Say(servers[1], new StepApplied(term, 0, 2, new SegmentStats(2, 4, 3, 4, 4)));
        Assert.Equal(commits, _rig.Events.OfType<long>().Count());
        _rig.Say(servers[1], _rig.Applied(servers[1], 2));
        Assert.Equal(3L, _rig.Events.OfType<long>().Last());
    }

    [Fact]
    public void OnlyServer_ThatIsLost_IsWaitedForAndReplaced()
    {
        var rig = new Rig(StepClockTests.Plan(servers: 1));
        (List<Rig.Link> servers, List<Rig.Link> workers) = rig.Start();
        rig.Close(servers[0], "killed");
        Assert.Contains("waiting for a parameter server, for 60 s at most; there is no checkpoint yet", rig.Events);

        Rig.Link next = rig.Join(MemberRole.Server);
        rig.Lead([next], 0);

        Assert.Equal(0L, next.Last<OwnPartition>().Version);
        Assert.Equal(rig.Term, workers[0].Last<Topology>().Term);
        Assert.Single(rig.Events, "started");
    }

    [Fact]
    public void Server_ThatIsLostWhileOthersTakeOver_BeginsItAnew()
    {
        var rig = new Rig(StepClockTests.Plan(servers: 3));
        (List<Rig.Link> servers, List<Rig.Link> workers) = rig.Start();
        rig.Close(servers[0], "killed");
        long term = servers[1].Last<AcceptTerm>().Term;
        rig.Say(servers[1], new TermAccepted(term, term - 1, default));
        rig.Close(servers[1], "killed too");

        Assert.True(servers[2].Last<AcceptTerm>().Term > term);
        rig.Lead([servers[2]], 0);
        Assert.Single(workers[0].Last<Topology>().Servers);
    }

    [Fact]
    public void Interrupt_ThatLosesAServerOnItsWay_EndsWithWhatStands()
    {
        (List<Rig.Link> servers, List<Rig.Link> workers) = _rig.Start();
        Commit(servers, 0, 1);
        _rig.Tell(new StopRequested());
        _rig.Close(servers[0], "killed");
        _rig.Say(servers[1], new TermAccepted(servers[1].Last<AcceptTerm>().Term, _rig.Term, default));

        Assert.Equal(ExitCode.Interrupted, workers[0].Last<Stop>().Exit);
    }

    [Fact]
    public void Member_ThatWasGivenUp_IsToldAndJoinsOnlyAsANewOne()
    {
        (_, List<Rig.Link> workers) = _rig.Start();
        ((IMembership)_rig).Remove(new MemberId(3), "not heard for 3.0 s");
        Assert.Equal("not heard for 3.0 s", workers[0].Last<Evicted>().Cause);
        Assert.True(workers[0].Closed);

        Rig.Link again = _rig.Open();
        _rig.Say(again, new JoinRequest(MemberRole.Worker, "host", 1000, 3, Protocol.Version, 1, ""));

        Assert.Equal("not heard for 3.0 s", again.Last<Evicted>().Cause);
        Assert.NotNull(_rig.Join(MemberRole.Worker).Last<Assignment>());
    }

    [Fact]
    public void ElasticJob_WaitsBelowItsFewestAndLeavesOutThoseBeyondItsMost()
    {
        var rig = new Rig(StepClockTests.Plan(workers: 2) with { FewestWorkers = 2, MostWorkers = 3 });
        (_, List<Rig.Link> workers) = rig.Start();
        workers.Add(rig.Join(MemberRole.Worker));
        workers.Add(rig.Join(MemberRole.Worker));
        Assert.Equal([0, 1, 2, 3], workers.Take(3).SelectMany(w => w.Last<Assignment>().Shards));
        Assert.Empty(workers[3].Last<Assignment>().Shards.AsEnumerable());

        rig.Close(workers[0], "killed");
        Assert.Equal([0, 1, 2, 3], workers.Skip(1).SelectMany(w => w.Last<Assignment>().Shards));

        rig.Close(workers[1], "killed");
        rig.Close(workers[2], "killed");
        Assert.Empty(workers[3].Last<Assignment>().Shards.AsEnumerable());
        rig.Tell(new Tick());
        Assert.Contains("waiting for a worker, for 60 s at most; there is no checkpoint yet", rig.Events);

        Rig.Link late = rig.Join(MemberRole.Worker);
        Assert.Equal([0, 1, 2, 3], workers[3].Last<Assignment>().Shards.Concat(late.Last<Assignment>().Shards));
    }

    [Fact]
    public void Worker_ThatReachesNotEveryServer_GetsNoShardsUntilItDoes()
    {
        (_, List<Rig.Link> workers) = _rig.Start();
        _rig.Say(workers[0], new ServerUnreachable(_rig.Term, 1, "no route"));
        Assert.Empty(workers[0].Last<Assignment>().Shards.AsEnumerable());
        Assert.Equal([0, 1, 2, 3], workers[1].Last<Assignment>().Shards.AsEnumerable());

        _rig.Say(workers[0], new ServerReached(_rig.Term, 1));
        Assert.Equal([0, 1], workers[0].Last<Assignment>().Shards.AsEnumerable());
    }

    [Fact]
    public void Server_ThatNoWorkerReaches_IsGivenUp()
    {
        (List<Rig.Link> servers, List<Rig.Link> workers) = _rig.Start();
        foreach (Rig.Link worker in workers) _rig.Say(worker, new ServerUnreachable(_rig.Term, 1, "no route"));

        Assert.Contains("lost 2: workers can't connect to it: no route", _rig.Events);
        Assert.NotEmpty(servers[1].Sent.OfType<Evicted>());
        _rig.Lead([servers[0]], 0);
        Assert.Equal([0, 1, 2, 3], workers.SelectMany(w => w.Last<Assignment>().Shards));
    }

    [Fact]
    public void Step_OfAPartitionWithTwoCopies_IsCommittedWhenBothHaveAppliedIt()
    {
        Rig rig = Replicated(out Rig.Link first, out Rig.Link second, out List<Rig.Link> workers);
        Assert.Equal((true, false), (workers[0].Last<Topology>().Replicated, first.Last<OwnPartition>().IsReplica));
        Assert.Single(workers[0].Last<Topology>().Servers);
        Assert.Equal((true, 0), (second.Last<OwnPartition>().IsReplica, second.Last<OwnPartition>().Partition));
        Assert.NotNull(first.Last<OwnPartition>().Replica);

        rig.Say(first, rig.Applied(first, 0));
        Assert.Empty(rig.Events.OfType<long>());
        rig.Say(second, rig.Applied(second, 0));
        Assert.Equal([1L], rig.Events.OfType<long>());
        // Steps wait for it, so it is told at once.
        Assert.Equal(1L, first.Last<Clock>().CommittedVersion);
    }

    [Fact]
    public void FirstCopy_ThatIsLost_IsFollowedByTheSecondWithoutALostStep()
    {
        Rig rig = Replicated(out Rig.Link first, out Rig.Link second, out List<Rig.Link> workers);
        rig.Say(first, rig.Applied(first, 0));
        rig.Say(second, rig.Applied(second, 0));
        rig.Say(second, rig.Applied(second, 1));
        rig.Close(first, "killed");
        long term = second.Last<AcceptTerm>().Term;
        Assert.True(term > rig.Term);

        rig.Say(second, new TermAccepted(term, rig.Term, default) { Held = new HeldPartition(rig.Term, 0, 1, 4096, true, 2) { Applied = [new(0, Stats), new(1, Stats)] } });

        OwnPartition own = second.Last<OwnPartition>();
        Assert.Equal((true, false, 2L), (own.Keep, own.IsReplica, own.Version));
        rig.Say(second, new PartitionReady(term, 0, 2));
        Assert.Equal((term, false), (workers[0].Last<Topology>().Term, workers[0].Last<Topology>().Replicated));
        Assert.Equal([1L, 2L], rig.Events.OfType<long>());
        Assert.Equal(2L, workers[0].Last<Clock>().CommittedVersion);
        Assert.DoesNotContain(rig.Events.OfType<string>(), e => e.StartsWith("went back", StringComparison.Ordinal));
    }

    [Fact]
    public void Server_ThatComesAfterALoss_BecomesTheSecondCopyWhileStepsGoOn()
    {
        Rig rig = Replicated(out Rig.Link first, out Rig.Link second, out List<Rig.Link> workers);
        rig.Close(first, "killed");
        long term = second.Last<AcceptTerm>().Term;
        rig.Say(second, new TermAccepted(term, rig.Term, default) { Held = new HeldPartition(rig.Term, 0, 1, 4096, true, 0) });
        rig.Say(second, new PartitionReady(term, 0, 0));
        Rig.Link spare = rig.Join(MemberRole.Server);
        rig.Say(second, new StepApplied(term, 0, 0, Stats));

        long next = second.Last<AcceptTerm>().Term;
        Assert.True(next > term);
        rig.Say(second, new TermAccepted(next, term, default) { Held = new HeldPartition(term, 0, 1, 4096, false, 1) });
        rig.Say(spare, new TermAccepted(next, 0, default));
        Assert.Equal((true, true, 2L), second.Last<OwnPartition>() is var own ? (own.Keep, own.Replica is not null, own.CopyAt) : default);
        Assert.Equal((false, true, 2L), spare.Last<OwnPartition>() is var copy ? (copy.Keep, copy.IsReplica, copy.CopyAt) : default);

        // Nobody waits for it until it has all that is committed.
        rig.Say(second, new PartitionReady(next, 0, 1));
        for (long step = 1; step < 5; step++) rig.Say(second, new StepApplied(next, 0, step, Stats));
        Assert.Equal([1L, 2L, 3L, 4L, 5L], rig.Events.OfType<long>());
        // The first copy may have to wait for it meanwhile, so that no further step is granted: it is told at once how far it may go.
        int clocks = spare.Sent.OfType<Clock>().Count();
        rig.Say(spare, new PartitionReady(next, 0, 2));
        Assert.Equal(clocks + 1, spare.Sent.OfType<Clock>().Count());
        Assert.Equal((next, 5L, true), spare.Last<Clock>() is var clock ? (clock.Term, clock.CommittedVersion, clock.GrantedUntil > 5) : default);
        for (long step = 2; step < 4; step++) rig.Say(spare, new StepApplied(next, 0, step, Stats));
        Assert.DoesNotContain(spare.Sent, m => m is CopyCounts);
        rig.Say(spare, new StepApplied(next, 0, 4, Stats));
        Assert.Equal((next, next), (spare.Last<CopyCounts>().Term, second.Last<CopyCounts>().Term));

        rig.Say(second, new StepApplied(next, 0, 5, Stats));
        Assert.Equal(5L, rig.Events.OfType<long>().Last());
        rig.Say(spare, new StepApplied(next, 0, 5, Stats));
        Assert.Equal(6L, rig.Events.OfType<long>().Last());
    }

    [Fact]
    public void SecondCopy_ThatIsAheadOfTheCommitWhenItCounts_IsNotWaitedForInVain()
    {
        Rig rig = Refilling(servers: 2, out List<Rig.Link> servers, out Rig.Link spare);
        int partition = spare.Last<OwnPartition>().Partition;
        Rig.Link first = servers.Single(s => s.Last<OwnPartition>().Partition == partition && !s.Last<OwnPartition>().IsReplica);
        List<Rig.Link> others = [.. servers.Where(s => s != first)];
        rig.Say(first, rig.Applied(first, 0));
        rig.Say(spare, new PartitionReady(rig.Term, partition, 1));
        Assert.NotNull(spare.Last<CopyCounts>());
        Assert.Empty(rig.Events.OfType<long>());

        foreach (Rig.Link other in others) rig.Say(other, rig.Applied(other, 0));

        Assert.Equal([1L], rig.Events.OfType<long>());
    }

    [Fact]
    public void SecondCopy_ThatTheFirstCantReach_IsDoneWithout()
    {
        Rig rig = Replicated(out Rig.Link first, out Rig.Link second, out List<Rig.Link> workers);
        rig.Say(first, new ServerUnreachable(rig.Term, 0, "no route"));
        long term = first.Last<AcceptTerm>().Term;
        rig.Say(first, new TermAccepted(term, rig.Term, default) { Held = new HeldPartition(rig.Term, 0, 1, 4096, false, 1) { Applied = [new(0, Stats)] } });
        rig.Say(second, new TermAccepted(term, rig.Term, default) { Held = new HeldPartition(rig.Term, 0, 1, 4096, true, 1) { Applied = [new(0, Stats)] } });

        Assert.Equal((true, true), first.Last<OwnPartition>() is var own ? (own.Keep, own.Replica is null) : default);
        rig.Say(first, new PartitionReady(term, 0, 1));
        rig.Say(first, new StepApplied(term, 0, 1, Stats));
        Assert.Equal(2L, rig.Events.OfType<long>().Last());
        Assert.Equal(term, first.Last<AcceptTerm>().Term);
        Assert.DoesNotContain(second.Sent, m => m is Evicted);
    }

    [Fact]
    public void Coordinator_ThatFollowsAnother_GoesOnFromWhereTheServersAre()
    {
        var record = new CoordinatorRecord(5, 0, EvaluationRecord.Empty, new byte[] { 42 });
        var rig = new Rig(StepClockTests.Plan(servers: 2, stepsPerEpoch: 100, totalSteps: 100) with { Recovers = true });
        List<Rig.Link> servers = [rig.Join(MemberRole.Server), rig.Join(MemberRole.Server)];
        List<Rig.Link> workers = [rig.Join(MemberRole.Worker), rig.Join(MemberRole.Worker)];
        rig.Say(servers[0], new TermRefused(servers[0].Last<AcceptTerm>().Term, 8));
        Assert.Equal(9, servers[1].Last<AcceptTerm>().Term);

        // The second one to join had the first partition, which is a step ahead.
        rig.Say(servers[0], new TermAccepted(9, 8, record.ToBytes()) { Held = new HeldPartition(8, 1, 2, 512, false, 6) { Applied = [new(5, Stats)] } });
        rig.Say(servers[1], new TermAccepted(9, 8, (record with { Committed = 4 }).ToBytes()) { Held = new HeldPartition(8, 0, 2, 512, false, 7) { Applied = [new(5, Stats), new(6, Stats)] } });

        Assert.Equal((1, 2, 512, true, 6L), Own(servers[0]));
        Assert.Equal((0, 2, 512, true, 6L), Own(servers[1]));
        foreach (Rig.Link server in servers) rig.Say(server, new PartitionReady(9, server.Last<OwnPartition>().Partition, 6));
        Assert.Contains("resumed 5 with 42", rig.Events);
        Assert.Equal([6L], rig.Events.OfType<long>());
        Assert.Equal(6L, workers[0].Last<Clock>().CommittedVersion);
        rig.Say(servers[0], new StepApplied(9, 1, 6, Stats));
        Assert.Equal([6L, 7L], rig.Events.OfType<long>());

        static (int, int, int, bool, long) Own(Rig.Link server) =>
            server.Last<OwnPartition>() is var own ? (own.Partition, own.Partitions, own.BucketLength, own.Keep, own.Version) : default;
    }

    [Fact]
    public void Coordinator_ThatFollowsAnotherWithAPartitionGone_GoesBackToTheCheckpoint()
    {
        var rig = new Rig(StepClockTests.Plan(servers: 2, stepsPerEpoch: 100, totalSteps: 100) with { Recovers = true }) { Kept = (3, default) };
        Rig.Link server = rig.Join(MemberRole.Server);
        rig.Join(MemberRole.Worker);
        rig.Tell(new Tick());
        Assert.DoesNotContain(server.Sent, m => m is AcceptTerm);
        rig.Time.Advance(TimeSpan.FromSeconds(3));
        rig.Tell(new Tick());
        long term = server.Last<AcceptTerm>().Term;

        rig.Say(server, new TermAccepted(term, 0, default) { Held = new HeldPartition(1, 1, 2, 512, false, 6) });

        Assert.Equal((0, 1, false, 3L), server.Last<OwnPartition>() is var own ? (own.Partition, own.Partitions, own.Keep, own.Version) : default);
    }

    [Fact]
    public void Worker_ThatKnowsAHigherTerm_IsLedUnderOneAboveIt()
    {
        var rig = new Rig(StepClockTests.Plan(servers: 1, stepsPerEpoch: 100, totalSteps: 100) with { Recovers = true });
        Rig.Link server = rig.Join(MemberRole.Server);
        rig.Join(MemberRole.Worker, highestTerm: 7);
        Rig.Link last = rig.Join(MemberRole.Worker);
        Assert.Equal(8, server.Last<AcceptTerm>().Term);
        rig.Lead([server], 0);
        Assert.Equal(8, last.Last<Topology>().Term);

        // One that finds the new coordinator only when it leads already.
        Rig.Link late = rig.Join(MemberRole.Worker, highestTerm: 8);
        Assert.Equal(9, server.Last<AcceptTerm>().Term);
        rig.Say(server, new TermAccepted(9, 8, default) { Held = new HeldPartition(8, 0, 1, 4096, false, 0) });
        rig.Say(server, new PartitionReady(9, 0, 0));

        Assert.Equal((true, 9L, 9L), (server.Last<OwnPartition>().Keep, last.Last<Topology>().Term, late.Last<Topology>().Term));
        Assert.NotEmpty(late.Last<Assignment>().Shards);
    }

    [Fact]
    public void Server_ThatLeaves_GoesOnceEverythingIsSaved()
    {
        (List<Rig.Link> servers, List<Rig.Link> workers) = _rig.Start();
        _rig.Say(servers[1], new Leaving("it was interrupted"));
        Assert.DoesNotContain(servers[1].Sent, m => m is Evicted);
        long granted = workers[0].Last<Clock>().GrantedUntil;
        for (long step = 0; step < granted; step++)
        {
            foreach (Rig.Link server in servers) _rig.Say(server, _rig.Applied(server, step));
        }

        Assert.Equal(granted, workers[0].Last<Clock>().GrantedUntil);
        Assert.Equal([granted], workers[0].Last<Clock>().Checkpoints.AsEnumerable());
        Assert.DoesNotContain(servers[1].Sent, m => m is Evicted);
        _rig.Kept = (granted, default);
        _rig.Tell(new CheckpointWritten(granted, "runs/x"));

        Assert.Equal("left: it was interrupted", servers[1].Last<Evicted>().Cause);
        _rig.Lead([servers[0]], granted);
        Assert.Equal((1, false, granted), servers[0].Last<OwnPartition>() is var own ? (own.Partitions, own.Keep, own.Version) : default);
        Assert.DoesNotContain(_rig.Events.OfType<string>(), e => e.Contains("computed again", StringComparison.Ordinal));
    }

    [Fact]
    public void Server_ThatLeavesWithACopyElsewhere_GoesAtOnce()
    {
        Rig rig = Replicated(out Rig.Link first, out Rig.Link second, out _);

        rig.Say(first, new Leaving("it was interrupted"));

        Assert.NotNull(first.Last<Evicted>());
        Assert.True(second.Last<AcceptTerm>().Term > rig.Term);
    }

    [Fact]
    public void Server_ThatComesWhileOthersAccept_AcceptsTooAndIsGoneOnWith()
    {
        var rig = new Rig(StepClockTests.Plan(servers: 2, stepsPerEpoch: 100, totalSteps: 100) with { Recovers = true });
        rig.Join(MemberRole.Worker);
        Rig.Link fresh = rig.Join(MemberRole.Server);
        rig.Time.Advance(TimeSpan.FromSeconds(3));
        rig.Tell(new Tick());
        long term = fresh.Last<AcceptTerm>().Term;

        Rig.Link late = rig.Join(MemberRole.Server, highestTerm: term - 1);
        long next = late.Last<AcceptTerm>().Term;
        Assert.True(next > term);
        rig.Say(fresh, new TermAccepted(term, 0, default));
        Assert.DoesNotContain(fresh.Sent, m => m is OwnPartition);
        rig.Say(fresh, new TermAccepted(next, term, default));
        rig.Say(late, new TermAccepted(next, term - 1, default) { Held = new HeldPartition(1, 0, 1, 4096, false, 6) });

        Assert.Equal((true, 6L), (late.Last<OwnPartition>().Keep, late.Last<OwnPartition>().Version));
        Assert.DoesNotContain(fresh.Sent, m => m is OwnPartition);
    }

    [Fact]
    public void Workers_ThatAreAllLostBeforeTheFirstStep_AreWaitedFor()
    {
        Rig.Link[] servers = [_rig.Join(MemberRole.Server), _rig.Join(MemberRole.Server)];
        Rig.Link[] workers = [_rig.Join(MemberRole.Worker), _rig.Join(MemberRole.Worker)];
        foreach (Rig.Link worker in workers) _rig.Close(worker, "killed");
        _rig.Lead([.. servers], 0);
        Assert.Null(_rig.Outcome);

        Rig.Link late = _rig.Join(MemberRole.Worker);

        Assert.Equal([0, 1, 2, 3], late.Last<Assignment>().Shards.AsEnumerable());
        Assert.True(late.Last<Clock>().GrantedUntil > 0);
    }

    [Fact]
    public void Server_ThatComesBeforeAnEvaluation_IsTakenInAfterIt()
    {
        var rig = new Rig(StepClockTests.Plan(servers: 2, stepsPerEpoch: 4, totalSteps: 100) with { Evaluates = true });
        (List<Rig.Link> servers, _) = rig.Start();
        rig.Close(servers[1], "killed");
        rig.Lead([servers[0]], 0);
        Rig.Link spare = rig.Join(MemberRole.Server);
        for (long step = 0; step < 4; step++) rig.Say(servers[0], rig.Applied(servers[0], step));
        rig.Tell(new CheckpointWritten(4, "runs/x"));
        Assert.DoesNotContain(spare.Sent, m => m is AcceptTerm);

        rig.Say(servers[0], new EvaluationReduced(rig.Term, 4, Stats));

        Assert.Equal(servers[0].Last<AcceptTerm>().Term, spare.Last<AcceptTerm>().Term);
    }

    [Fact]
    public void Server_WhoseCheckpointFails_HoldsNobodyUp()
    {
        var rig = new Rig(StepClockTests.Plan(servers: 2, stepsPerEpoch: 1000, totalSteps: 1000));
        (List<Rig.Link> servers, List<Rig.Link> workers) = rig.Start();
        rig.Close(servers[1], "killed");
        rig.Lead([servers[0]], 0);
        Rig.Link spare = rig.Join(MemberRole.Server);
        long step = 0;
        rig.Say(servers[0], rig.Applied(servers[0], step++));
        long held = workers[0].Last<Clock>().Checkpoints.Single();
        while (step < held) rig.Say(servers[0], rig.Applied(servers[0], step++));
        Assert.Equal(held, workers[0].Last<Clock>().GrantedUntil);

        rig.Tell(new CheckpointFailed(held, "the disk is full", ExitCode.Internal));

        Assert.Contains("the disk is full", rig.Events);
        while (step < held + 90) rig.Say(servers[0], rig.Applied(servers[0], step++));
        Assert.DoesNotContain(spare.Sent, m => m is AcceptTerm);
        Assert.Empty(workers[0].Last<Clock>().Checkpoints);
    }

    private static SegmentStats Stats => new(2, 4, 3, 4, 4);

    // One of two pairs of copies lost its second one, and a server that came after it is to be that.
    private static Rig Refilling(int servers, out List<Rig.Link> holders, out Rig.Link spare)
    {
        var rig = new Rig(StepClockTests.Plan(servers: servers, stepsPerEpoch: 100, totalSteps: 100) with { Replicas = 1 });
        List<Rig.Link> all = [.. Enumerable.Range(0, 2 * servers).Select(i => rig.Join(MemberRole.Server, pid: i))];
        rig.Join(MemberRole.Worker);
        rig.Join(MemberRole.Worker);
        rig.Lead(all, 0);
        Rig.Link lost = all.Last(s => s.Last<OwnPartition>().IsReplica);
        spare = rig.Join(MemberRole.Server, pid: 99);
        rig.Close(lost, "killed");
        all.Remove(lost);
        long term = all[0].Last<AcceptTerm>().Term;
        foreach (Rig.Link server in all)
        {
            OwnPartition own = server.Last<OwnPartition>();
            rig.Say(server, new TermAccepted(term, rig.Term, default) { Held = new HeldPartition(own.Term, own.Partition, own.Partitions, own.BucketLength, own.IsReplica, 0) });
        }

        rig.Say(spare, new TermAccepted(term, 0, default));
        foreach (Rig.Link server in all) rig.Say(server, new PartitionReady(term, server.Last<OwnPartition>().Partition, 0));
        rig.Follow(term);
        holders = all;
        return rig;
    }

    private static Rig Replicated(out Rig.Link first, out Rig.Link second, out List<Rig.Link> workers)
    {
        var rig = new Rig(StepClockTests.Plan(servers: 1, stepsPerEpoch: 100, totalSteps: 100) with { Replicas = 1 });
        Rig.Link[] servers = [rig.Join(MemberRole.Server, pid: 1), rig.Join(MemberRole.Server, pid: 2)];
        workers = [rig.Join(MemberRole.Worker), rig.Join(MemberRole.Worker)];
        rig.Lead([.. servers], 0);
        (first, second) = (servers[0], servers[1]);
        return rig;
    }

    private void Commit(List<Rig.Link> servers, long from, long to)
    {
        for (long step = from; step < to; step++)
        {
            foreach (Rig.Link server in servers) _rig.Say(server, _rig.Applied(server, step));
        }
    }
}
