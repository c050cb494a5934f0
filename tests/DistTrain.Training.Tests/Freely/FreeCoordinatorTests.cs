using DistTrain.Core.Messages;
using DistTrain.Training.Coordinator;
using DistTrain.Training.Tests.Coordinator;

namespace DistTrain.Training.Tests.Freely;

public class FreeCoordinatorTests
{
    [Fact]
    public void Staleness_OfAllServers_IsInTheOutcome()
    {
        var rig = new Rig(StepClockTests.Plan(evaluates: false, servers: 2) with { Consistency = Consistency.Ssp(3) });
        (List<Rig.Link> servers, List<Rig.Link> workers) = rig.Start();
        rig.Say(servers[0], rig.Applied(servers[0], 0) with { Segments = 4, StalenessSum = 2, StalenessMax = 1 });
        rig.Say(servers[1], rig.Applied(servers[1], 0) with { Segments = 4, StalenessSum = 8, StalenessMax = 3 });
        End(rig, [.. servers, .. workers]);
        Assert.Equal(new Staleness(8, 10, 3), rig.Outcome!.Staleness);
        Assert.Equal(1.25, rig.Outcome.Staleness!.Value.Mean);
    }

    [Fact]
    public void Synchronous_HasNoStaleness()
    {
        var rig = new Rig(StepClockTests.Plan(evaluates: false));
        (List<Rig.Link> servers, List<Rig.Link> workers) = rig.Start();
        End(rig, [.. servers, .. workers]);
        Assert.Null(rig.Outcome!.Staleness);
    }

    [Fact]
    public void Grant_GoesToTheBound_AndMovesWithTheForemostAndWithCommits()
    {
        var rig = new Rig(StepClockTests.Plan(totalSteps: 100, evaluates: false) with { Consistency = Consistency.Ssp(7) });
        (List<Rig.Link> servers, List<Rig.Link> workers) = rig.Start();
        Assert.Equal(StepClock.Window, workers[0].Last<Clock>().GrantedUntil);
        rig.Say(servers[0], new StepReached(rig.Term, 0, 2));
        Assert.Equal(3 + StepClock.Window, workers[0].Last<Clock>().GrantedUntil);
        rig.Say(servers[0], new StepReached(rig.Term, 0, 6));
        Assert.Equal((0, 8), (workers[0].Last<Clock>().CommittedVersion, workers[0].Last<Clock>().GrantedUntil));
        rig.Say(servers[0], rig.Applied(servers[0], 0));
        Assert.Equal((1, 9), (workers[1].Last<Clock>().CommittedVersion, servers[0].Last<Clock>().GrantedUntil));
        // Of another term, or for another partition: nobody's business.
        rig.Say(servers[0], new StepReached(rig.Term - 1, 0, 50));
        rig.Say(servers[0], new StepReached(rig.Term, 1, 50));
        Assert.Equal(9, workers[0].Last<Clock>().GrantedUntil);
    }

    // What is granted is finished and saved: no more than that.
    [Fact]
    public void Interrupt_EndsWhereTheGrantEnds()
    {
        var rig = new Rig(StepClockTests.Plan(totalSteps: 5000, evaluates: false) with { Consistency = Consistency.Async });
        (List<Rig.Link> servers, List<Rig.Link> workers) = rig.Start();
        rig.Say(servers[0], new StepReached(rig.Term, 0, 2));
        rig.Tell(new StopRequested());
        rig.Say(servers[0], new StepReached(rig.Term, 0, 6));
        Clock clock = workers[0].Last<Clock>();
        Assert.Equal((7, 7L), (clock.GrantedUntil, Assert.Single(clock.Checkpoints)));
    }

    private static void End(Rig rig, List<Rig.Link> members)
    {
        rig.Tell(new StopNow());
        foreach (Rig.Link member in members) rig.Close(member, "ended");
    }
}
