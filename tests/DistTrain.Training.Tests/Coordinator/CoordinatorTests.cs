using DistTrain.Core;
using DistTrain.Core.Actors;
using DistTrain.Core.Messages;
using DistTrain.Core.Sharding;
using DistTrain.Training.Coordinator;

namespace DistTrain.Training.Tests.Coordinator;

/// <summary>The coordinator as a table: messages in, messages and events out. No sockets, no time that passes by itself.</summary>
public class CoordinatorTests
{
    private readonly Rig _rig = new(StepClockTests.Plan(stepsPerEpoch: 2, totalSteps: 4));

    [Fact]
    public void Cluster_OfAllMembers_GetsTermPartitionsTopologyAndShards()
    {
        Rig.Link server = _rig.Join(MemberRole.Server);
        Rig.Link first = _rig.Join(MemberRole.Worker);
        Assert.DoesNotContain(server.Sent, m => m is AcceptTerm);
        Rig.Link second = _rig.Join(MemberRole.Worker);
        AcceptTerm term = server.Last<AcceptTerm>();
        _rig.Say(server, new TermAccepted(term.Term, 0, default));
        OwnPartition own = server.Last<OwnPartition>();
        Assert.Equal((0, 1, 0L), (own.Partition, own.Partitions, own.Version));
        Assert.DoesNotContain(first.Sent, m => m is Assignment);
        _rig.Say(server, new PartitionReady(term.Term, 0, 0));
        Assert.Equal([0, 1], first.Last<Assignment>().Shards.AsEnumerable());
        Assert.Equal([2, 3], second.Last<Assignment>().Shards.AsEnumerable());
        Assert.Equal(2, first.Last<Clock>().GrantedUntil);
    }

    [Fact]
    public void Term_ThatAServerHasPassed_IsTakenAboveIt()
    {
        Rig.Link server = _rig.Join(MemberRole.Server);
        _rig.Join(MemberRole.Worker);
        _rig.Join(MemberRole.Worker);
        _rig.Say(server, new TermRefused(server.Last<AcceptTerm>().Term, 41));
        Assert.Equal(42, server.Last<AcceptTerm>().Term);
    }

    [Theory]
    [InlineData(99, 1, "job", "data", "protocol version 99")]
    [InlineData(Protocol.Version, 99, "job", "data", "numerics revision 99")]
    [InlineData(Protocol.Version, 1, "other", "data", "reads the job as other")]
    [InlineData(Protocol.Version, 1, "job", "other", "its data is other")]
    public void Member_WithAMismatch_IsRefusedByName(int protocol, int numerics, string job, string data, string reason)
    {
        Rig.Link link = _rig.Open();
        _rig.Say(link, new JoinRequest(MemberRole.Worker, "lab-2", 412, 1, protocol, numerics, ""));
        if (!link.Closed) _rig.Say(link, new JoinReady(job, data));
        Refused refused = link.Last<Refused>();
        Assert.Contains(reason, refused.Reason);
        Assert.Contains("pid 412 on lab-2", refused.Reason);
        Assert.True(link.Closed);
    }

    [Fact]
    public void Commit_NeedsEveryPartition()
    {
        var rig = new Rig(StepClockTests.Plan(servers: 2, workers: 1));
        (List<Rig.Link> servers, _) = rig.Start();
        rig.Say(servers[0], rig.Applied(servers[0], 0));
        Assert.Empty(rig.Events.OfType<long>());
        rig.Say(servers[1], rig.Applied(servers[1], 0));
        Assert.Equal([1L], rig.Events.OfType<long>());
    }

    [Fact]
    public void Message_OfALowerTerm_IsDropped()
    {
        (List<Rig.Link> servers, _) = _rig.Start();
        StepApplied old = _rig.Applied(servers[0], 0);
        _rig.Say(servers[0], old with { Term = old.Term - 1 });
        Assert.Empty(_rig.Events.OfType<long>());
    }

    [Fact]
    public void Worker_ThatIsLost_LosesItsShardsToTheOthers()
    {
        (List<Rig.Link> servers, List<Rig.Link> workers) = _rig.Start();
        _rig.Close(workers[0], "the connection was closed");
        Assert.Equal([0, 1, 2, 3], workers[1].Last<Assignment>().Shards.AsEnumerable());
        Assert.Contains("lost 2: the connection was closed", _rig.Events);
        // Its late words change nothing.
        _rig.Say(workers[0], new Heartbeat());
        _rig.Say(servers[0], _rig.Applied(servers[0], 0));
        Assert.Equal([1L], _rig.Events.OfType<long>());
    }

    [Fact]
    public void Worker_ThatFails_IsLostForTheCauseThatItGave()
    {
        (_, List<Rig.Link> workers) = _rig.Start();
        _rig.Say(workers[0], new Failed("shard 3: bad file", ExitCode.Internal));
        _rig.Close(workers[0], "the connection was closed");
        Assert.Contains("lost 2: shard 3: bad file", _rig.Events);
    }

    [Fact]
    public void Worker_ThatJoinsLate_GetsAShare()
    {
        (_, List<Rig.Link> workers) = _rig.Start();
        Rig.Link late = _rig.Join(MemberRole.Worker);
        Assert.NotNull(late.Last<Topology>());
        Assert.Equal([0, 1, 2, 3], workers.Append(late).SelectMany(w => w.Last<Assignment>().Shards));
        Assert.NotEmpty(late.Last<Assignment>().Shards.AsEnumerable());
    }

    [Fact]
    public void Epoch_ThatEnds_IsEvaluatedBeforeMoreIsGranted()
    {
        (List<Rig.Link> servers, List<Rig.Link> workers) = _rig.Start();
        _rig.Say(servers[0], _rig.Applied(servers[0], 0));
        _rig.Say(servers[0], _rig.Applied(servers[0], 1));
        Assert.Equal((2L, 2), (workers[0].Last<Evaluate>().Version, workers[0].Last<Evaluate>().Shards.Length));
        Assert.Equal(2, workers[0].Last<Clock>().GrantedUntil);
        _rig.Say(servers[0], new EvaluationReduced(_rig.Term, 2, new SegmentStats(1, 20, 19, 20, 20)));
        Assert.Equal(4, workers[0].Last<Clock>().GrantedUntil);
        Assert.Contains("evaluated 2", _rig.Events);
    }

    [Fact]
    public void Job_ThatIsDone_WaitsForItsLastCheckpoint()
    {
        (List<Rig.Link> servers, List<Rig.Link> workers) = _rig.Start();
        for (long step = 0; step < 4; step++)
        {
            _rig.Say(servers[0], _rig.Applied(servers[0], step));
            if (step % 2 == 1) _rig.Say(servers[0], new EvaluationReduced(_rig.Term, step + 1, new SegmentStats(1, 20, 19, 20, 20)));
        }

        Assert.Equal([4L], servers[0].Last<Clock>().Checkpoints.AsEnumerable());
        Assert.Equal([4L], _rig.Expected);
        Assert.DoesNotContain(workers[0].Sent, m => m is Stop);
        _rig.Tell(new CheckpointWritten(4, "runs/x"));
        Assert.Equal(ExitCode.Done, workers[0].Last<Stop>().Exit);
        foreach (Rig.Link link in workers.Concat(servers)) _rig.Close(link, "it closed the link");
        Assert.Equal(new Outcome(ExitCode.Done, null, 4, 2, 1) { BucketLength = 4096 }, _rig.Outcome);
    }

    [Fact]
    public void Loss_ThatIsNotFinite_EndsTheJobAsDiverged()
    {
        (List<Rig.Link> servers, List<Rig.Link> workers) = _rig.Start();
        _rig.Say(servers[0], _rig.Applied(servers[0], 0) with { Stats = new SegmentStats(double.NaN, 4, 0, 4, 4) });
        Assert.Equal(ExitCode.Diverged, workers[0].Last<Stop>().Exit);
        Assert.Contains("step 0", workers[0].Last<Stop>().Reason);
    }

    [Fact]
    public void Interrupt_InTheMiddle_FinishesWhatIsGrantedAndSaves()
    {
        (List<Rig.Link> servers, List<Rig.Link> workers) = _rig.Start();
        _rig.Tell(new StopRequested());
        Assert.Equal([2L], servers[0].Last<Clock>().Checkpoints.AsEnumerable());
        _rig.Say(servers[0], _rig.Applied(servers[0], 0));
        _rig.Say(servers[0], _rig.Applied(servers[0], 1));
        Assert.DoesNotContain(workers[0].Sent, m => m is Evaluate);
        _rig.Tell(new CheckpointWritten(2, "runs/x"));
        Assert.Equal(ExitCode.Interrupted, workers[0].Last<Stop>().Exit);
    }

    [Fact]
    public void Interrupt_WhenAllIsGranted_StillEvaluatesTheEnd()
    {
        (List<Rig.Link> servers, List<Rig.Link> workers) = _rig.Start();
        _rig.Say(servers[0], _rig.Applied(servers[0], 0));
        _rig.Say(servers[0], _rig.Applied(servers[0], 1));
        _rig.Say(servers[0], new EvaluationReduced(_rig.Term, 2, new SegmentStats(1, 20, 19, 20, 20)));
        _rig.Tell(new StopRequested());
        _rig.Say(servers[0], _rig.Applied(servers[0], 2));
        _rig.Say(servers[0], _rig.Applied(servers[0], 3));
        _rig.Tell(new CheckpointWritten(4, "runs/x"));
        Assert.DoesNotContain(workers[0].Sent, m => m is Stop);
        _rig.Say(servers[0], new EvaluationReduced(_rig.Term, 4, new SegmentStats(1, 20, 19, 20, 20)));
        Assert.Equal(ExitCode.Done, workers[0].Last<Stop>().Exit);
    }

    [Fact]
    public void Report_FromAnotherThanThePartitionsOwner_DoesNotCount()
    {
        (_, List<Rig.Link> workers) = _rig.Start();
        _rig.Say(workers[0], new StepApplied(_rig.Term, 0, 0, new SegmentStats(1, 4, 3, 4, 4)));
        Assert.Empty(_rig.Events.OfType<long>());
    }

    [Fact]
    public void Waiting_LongerThanTheTimeout_SaysForWhom()
    {
        _rig.Join(MemberRole.Worker);
        _rig.Tell(new Tick());
        Assert.Contains("waiting for 1 of 2 workers and 1 of 1 server", _rig.Events);
        _rig.Time.Advance(TimeSpan.FromSeconds(61));
        _rig.Tell(new Tick());
        Assert.Null(_rig.Outcome);
        _rig.Time.Advance(TimeSpan.FromSeconds(1));
        _rig.Tell(new Tick());
        Assert.Equal(ExitCode.ClusterLost, _rig.Outcome!.Exit);
        Assert.Contains("waited 61 s for 1 of 2 workers and 1 of 1 server", _rig.Outcome.Reason);
    }
}
