using DistTrain.Core;
using DistTrain.Core.Layout;
using DistTrain.Core.Messages;
using DistTrain.Core.Sharding;
using DistTrain.Training.Coordinator;

namespace DistTrain.Training.Tests.Coordinator;

/// <summary>What a member can't know or mean doesn't end the job.</summary>
public class HostileMemberTests
{
    private static readonly ParameterLayout Layout = new([("a", [8], TensorRole.Parameter)]);

    /// <summary>A worker has no partition, which must not count as one called -1.</summary>
    [Fact]
    public void Report_OfNoPartition_IsDropped()
    {
        var rig = new Rig(StepClockTests.Plan() with { NormedLayout = Layout, Watched = new WatchedModel(Layout, []) });
        (_, List<Rig.Link> workers) = rig.Start();
        rig.Say(workers[0], new NormsMeasured(rig.Term, -1, 0, [1]));
        rig.Say(workers[0], new Watched(rig.Term, -1, 0, [], [], [], [], 1, 1));
        rig.Say(workers[0], new StepApplied(rig.Term, -1, 0, default));
        Assert.DoesNotContain(1L, rig.Events);
    }

    [Theory]
    [InlineData(long.MaxValue)]
    [InlineData(0)]
    public void Term_ThatCannotHaveBeenAccepted_CostsTheServerItsPlace(long highest)
    {
        var rig = new Rig(StepClockTests.Plan());
        Rig.Link server = rig.Join(MemberRole.Server), worker = rig.Join(MemberRole.Worker);
        rig.Join(MemberRole.Worker);
        long term = server.Last<AcceptTerm>().Term;
        rig.Say(worker, new TermRefused(term, 41));
        Assert.Equal(term, server.Last<AcceptTerm>().Term);
        rig.Say(server, new TermRefused(term, highest));
        Assert.True(server.Closed);
        Assert.Null(rig.Outcome);
    }

    [Fact]
    public void Member_ThatAsksToJoinAgain_StaysWhatItIs()
    {
        var rig = new Rig(StepClockTests.Plan());
        (List<Rig.Link> servers, _) = rig.Start();
        rig.Say(servers[0], new JoinRequest(MemberRole.Worker, "host", 1, 99, Protocol.Version + 1, 1, ""));
        Assert.False(servers[0].Closed);
        rig.Say(servers[0], rig.Applied(servers[0], 0));
        Assert.Contains(1L, rig.Events);
    }

    [Fact]
    public void ShardsMissing_ThatTheJobDoesNotHave_AreGivenToNobody()
    {
        var rig = new Rig(StepClockTests.Plan() with { Assists = true });
        (List<Rig.Link> servers, List<Rig.Link> workers) = rig.Start();
        for (int step = 0; step < 8; step++)
        {
            rig.Time.Advance(TimeSpan.FromMilliseconds(10));
            rig.Say(servers[0], rig.Applied(servers[0], step));
        }

        for (int i = 0; i < 100 && !servers[0].Sent.OfType<MissingAsked>().Any(); i++)
        {
            rig.Time.Advance(TimeSpan.FromSeconds(1));
            rig.Tell(new Tick());
        }

        MissingAsked asked = servers[0].Last<MissingAsked>();
        rig.Say(servers[0], new ShardsMissing(rig.Term, 0, asked.Step, asked.Evaluation, [-1, 0, 4, int.MaxValue]));
        Assert.Equal([0], workers[1].Last<Assist>().Shards.AsEnumerable());
    }

    [Fact]
    public void Applied_StepThatIsNotGranted_IsNotKept()
    {
        var clock = new StepClock(StepClockTests.Plan(evaluates: false));
        clock.Grant();
        Assert.False(clock.Applied(0, 1L << 40, 1));
        Assert.True(clock.Applied(0, 0, 1));
    }
}
