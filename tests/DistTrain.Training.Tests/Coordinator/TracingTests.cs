using DistTrain.Core;
using DistTrain.Core.Messages;
using DistTrain.Core.Tracing;
using DistTrain.Training.Coordinator;

namespace DistTrain.Training.Tests.Coordinator;

/// <summary>How what members recorded comes together at the end.</summary>
public class TracingTests
{
    private readonly Rig _rig = new(StepClockTests.Plan(stepsPerEpoch: 4, totalSteps: 1) with { Evaluates = false, Trace = new TraceRecorder(64) });

    private (Rig.Link Server, List<Rig.Link> Workers) End()
    {
        (List<Rig.Link> servers, List<Rig.Link> workers) = _rig.Start();
        _rig.Say(servers[0], _rig.Applied(servers[0], 0));
        _rig.Tell(new CheckpointWritten(1, "path"));
        Assert.All([.. workers, servers[0]], m => Assert.Single(m.Sent.OfType<TraceWanted>()));
        Assert.All([.. workers, servers[0]], m => Assert.DoesNotContain(m.Sent, s => s is Stop));
        return (servers[0], workers);
    }

    private static Traced Part(long start, bool last = false) => new(100, 100, [new TraceEvent { Name = TraceName.Loss, Start = start }], 5, last);

    private IReadOnlyList<TraceTrack> Tracks => _rig.Events.OfType<IReadOnlyList<TraceTrack>>().Single();

    [Fact]
    public void Members_AreAskedBeforeTheyAreStopped_AndWaitedFor()
    {
        (Rig.Link server, List<Rig.Link> workers) = End();
        foreach (Rig.Link member in (Rig.Link[])[server, .. workers])
        {
            Assert.DoesNotContain(server.Sent, m => m is Stop);
            _rig.Say(member, new Traced(100, 100, [], 0, Last: false));
            _rig.Say(member, Part(1));
            _rig.Say(member, Part(2, last: true));
        }

        Assert.Equal(ExitCode.Done, server.Last<Stop>().Exit);
        Assert.Equal(4, Tracks.Count);
        Assert.Null(Tracks[0].Member);
        Assert.Contains(Tracks[0].Events, e => e.Name == TraceName.Committed);
        Assert.All(Tracks.Skip(1), t => Assert.Equal((2, 5L), (t.Events.Count, t.Lost)));
    }

    [Fact]
    public void MemberThatIsLostMeanwhile_IsLeftOut()
    {
        (Rig.Link server, List<Rig.Link> workers) = End();
        _rig.Say(server, Part(1, last: true));
        _rig.Say(workers[0], Part(1, last: true));
        _rig.Close(workers[1], "gone");
        Assert.Equal(3, Tracks.Count);
        Assert.NotNull(server.Last<Stop>());
    }

    [Fact]
    public void MemberThatIsSilent_IsNotWaitedForLong()
    {
        (Rig.Link server, List<Rig.Link> workers) = End();
        _rig.Say(server, Part(1, last: true));
        _rig.Time.Advance(TimeSpan.FromSeconds(4));
        _rig.Tell(new Tick());
        Assert.DoesNotContain(server.Sent, m => m is Stop);
        _rig.Time.Advance(TimeSpan.FromSeconds(2));
        _rig.Tell(new Tick());
        Assert.NotNull(workers[1].Last<Stop>());
        Assert.Equal(2, Tracks.Count);
    }

    // Elsewhere the clock shows another time: asked at 7 s and answered at once, 40 ms after this machine asked.
    [Fact]
    public void Clocks_AreAlignedByTheWayThereAndBack()
    {
        (Rig.Link server, _) = End();
        _rig.Time.Advance(TimeSpan.FromMilliseconds(40));
        _rig.Say(server, new Traced(7_000_000_000, 7_000_000_000, [], 0, Last: false));
        _rig.Say(server, Part(7_000_000_500, last: true));
        _rig.Tell(new StopNow());
        TraceTrack track = Tracks[1];
        Assert.Equal(20_000_000, track.ClockError);
        long asked = TraceTime(_rig.Time.GetTimestamp()) - 40_000_000;
        Assert.Equal(asked + 20_000_000 + 500, Assert.Single(track.Events).Start);
    }

    [Fact]
    public void Newcomers_AreRefused()
    {
        End();
        Rig.Link late = _rig.Open();
        _rig.Say(late, new JoinRequest(MemberRole.Worker, "lab", 1, 1, Protocol.Version, 1, ""));
        Assert.Contains("over", late.Last<Refused>().Reason);
    }

    private long TraceTime(long timestamp) => _rig.Time.GetElapsedTime(0, timestamp).Ticks * TimeSpan.NanosecondsPerTick;
}
