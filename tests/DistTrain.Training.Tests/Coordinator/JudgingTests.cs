using DistTrain.Core;
using DistTrain.Core.Messages;
using DistTrain.Core.Sharding;
using DistTrain.Optim;
using DistTrain.Training.Coordinator;

namespace DistTrain.Training.Tests.Coordinator;

/// <summary>What the coordinator tells servers after evaluations: epochs of 2 steps, one server, one worker.</summary>
public class JudgingTests
{
    [Fact]
    public void Evaluation_ThatIsTheBest_HasItsVersionSavedBeforeTheNextStep()
    {
        (Rig rig, Rig.Link server) = Start(new EarlyStopping(2), null);
        Train(rig, server, 0, 2);
        Assert.Empty(rig.Expected);
        Assert.Equal(2, server.Last<Clock>().GrantedUntil);
        Evaluated(rig, server, 2, 0.5);
        Assert.Equal([2L], server.Last<Clock>().Checkpoints.AsEnumerable());
        Assert.Equal(4, server.Last<Clock>().GrantedUntil);
        Assert.Equal(new BestModel(2, 0.5, 0.5), rig.Records[2].Best);
    }

    [Fact]
    public void Training_ThatGetsNoBetter_EndsWellWithTheBestSaved()
    {
        (Rig rig, Rig.Link server) = Start(new EarlyStopping(2), null);
        Epoch(rig, server, 2, 0.5);
        Epoch(rig, server, 4, 0.6);
        Epoch(rig, server, 6, 0.5);
        Assert.Equal(6, server.Last<Clock>().GrantedUntil);
        Assert.Equal([2L, 6], rig.Expected);
        Assert.Equal(2, rig.Records[6].Since);
        rig.Tell(new CheckpointWritten(6, "six"));
        Assert.DoesNotContain(server.Sent, m => m is Stop);
        rig.Tell(new CheckpointWritten(2, "two"));
        Assert.Equal((ExitCode.Done, (string?)null, 6L, 2L), (End(rig).Exit, rig.Outcome!.Reason, rig.Outcome.Version, rig.Outcome.Best!.Version));
        Assert.Contains("stopped early at step 6: 2 evaluations in a row were no better; the best was step 2, whose weights are kept (test loss 0.5)", rig.Events);
    }

    [Fact]
    public void Best_ThatCannotBeWritten_EndsTheJob()
    {
        (Rig rig, Rig.Link server) = Start(new EarlyStopping(2), null);
        Epoch(rig, server, 2, 0.5);
        rig.Tell(new CheckpointFailed(2, "the disk is full", ExitCode.BadData));
        Assert.Equal((ExitCode.BadData, "the disk is full"), (End(rig).Exit, rig.Outcome!.Reason));
    }

    [Fact]
    public void Plateau_AfterItsPatience_LowersTheRateOfTheNextGrant()
    {
        (Rig rig, Rig.Link server) = Start(null, new PlateauSchedule(0.5, 0));
        Epoch(rig, server, 2, 0.5);
        Assert.Equal(1, server.Last<Clock>().RateFactor);
        Train(rig, server, 2, 4);
        Assert.Equal((4L, 1.0), (server.Last<Clock>().GrantedUntil, server.Last<Clock>().RateFactor));
        Evaluated(rig, server, 4, 0.6);
        Assert.Equal((6L, 0.5), (server.Last<Clock>().GrantedUntil, server.Last<Clock>().RateFactor));
        Assert.Empty(rig.Expected);
    }

    [Fact]
    public void Interrupt_BeforeAnEvaluation_SavesWithoutItAndTheResumedRunEvaluatesFirst()
    {
        (Rig rig, Rig.Link server) = Start(new EarlyStopping(1), null);
        Epoch(rig, server, 2, 0.5);
        rig.Tell(new CheckpointWritten(2, "two"));
        Train(rig, server, 2, 4);
        rig.Tell(new StopRequested());
        Assert.Equal([4L], server.Last<Clock>().Checkpoints.AsEnumerable());
        Assert.Equal(2, rig.Records[4].Version);
        Evaluated(rig, server, 4, 0.9);
        rig.Tell(new CheckpointWritten(4, "four"));
        Assert.Equal((ExitCode.Interrupted, 2L), (End(rig).Exit, rig.Outcome!.Best!.Version));

        (Rig resumed, Rig.Link next) = Start(new EarlyStopping(1), null, 4, rig.Records[4]);
        Assert.Equal(4, next.Last<Clock>().GrantedUntil);
        Evaluated(resumed, next, 4, 0.9);
        Assert.Equal([4L], resumed.Expected);
        resumed.Tell(new CheckpointWritten(4, "four"));
        Assert.Equal((ExitCode.Done, 2L), (End(resumed).Exit, resumed.Outcome!.Best!.Version));
    }

    [Fact]
    public void Resume_AfterAnEarlyEnd_EndsAtOnce()
    {
        var record = new EvaluationRecord { Version = 6, Best = new BestModel(2, 0.5, 0.5), Since = 2 };
        (Rig rig, Rig.Link server) = Start(new EarlyStopping(2), null, 6, record);
        Assert.Equal(6, server.Last<Clock>().GrantedUntil);
        Assert.Equal([6L], rig.Expected);
        rig.Tell(new CheckpointWritten(6, "six"));
        Assert.Equal((ExitCode.Done, 2L), (End(rig).Exit, rig.Outcome!.Best!.Version));
    }

    [Fact]
    public void Best_WhileTwoCheckpointsAreUnwritten_HoldsTheNextStepBack()
    {
        (Rig rig, Rig.Link server) = Start(new EarlyStopping(2), null);
        Epoch(rig, server, 2, 0.5);
        Epoch(rig, server, 4, 0.4);
        Epoch(rig, server, 6, 0.3);
        Assert.Equal(([2L, 4L], 6L), (rig.Expected.ToArray(), server.Last<Clock>().GrantedUntil), Equal);
        rig.Tell(new CheckpointWritten(2, "two"));
        Assert.Equal(([2L, 4L, 6L], 8L), (rig.Expected.ToArray(), server.Last<Clock>().GrantedUntil), Equal);

        static bool Equal((long[] Saved, long Granted) a, (long[] Saved, long Granted) b) => a.Saved.SequenceEqual(b.Saved) && a.Granted == b.Granted;
    }

    private static (Rig Rig, Rig.Link Server) Start(EarlyStopping? stopping, PlateauSchedule? plateau, long first = 0, EvaluationRecord? record = null)
    {
        var rig = new Rig(StepClockTests.Plan(stepsPerEpoch: 2, totalSteps: 20, first: first, workers: 1) with
        {
            Monitoring = new EvaluationRules(stopping, plateau, 2),
            Evaluations = record ?? EvaluationRecord.Empty,
        });
        (List<Rig.Link> servers, _) = rig.Start();
        return (rig, servers[0]);
    }

    // Members that stay after the end are left behind.
    private static Outcome End(Rig rig)
    {
        rig.Time.Advance(TimeSpan.FromSeconds(1));
        rig.Tell(new Tick());
        return rig.Outcome!;
    }

    private static void Train(Rig rig, Rig.Link server, long from, long to)
    {
        for (long step = from; step < to; step++) rig.Say(server, rig.Applied(server, step));
    }

    private static void Evaluated(Rig rig, Rig.Link server, long version, double loss) =>
        rig.Say(server, new EvaluationReduced(rig.Term, version, new SegmentStats(loss * 4, 4, 2, 4, 4)));

    private static void Epoch(Rig rig, Rig.Link server, long version, double loss)
    {
        Train(rig, server, version - 2, version);
        Evaluated(rig, server, version, loss);
    }
}
