using DistTrain.Core;
using DistTrain.Core.Messages;
using DistTrain.Training.Coordinator;

namespace DistTrain.Training.Tests.Coordinator;

/// <summary>Checkpoints by the clock on the wall, and disks that can't keep up.</summary>
public class SavingTests
{
    [Fact]
    public void Period_ThatIsOver_SavesTheNextVersionThatNobodyHasBeenGranted()
    {
        var rig = new Rig(StepClockTests.Plan(stepsPerEpoch: 1000, totalSteps: 1000) with { CheckpointPeriod = TimeSpan.FromMinutes(5) });
        (List<Rig.Link> servers, _) = rig.Start();
        long step = 0;
        Steps(10);
        rig.Time.Advance(TimeSpan.FromMinutes(4.9));
        rig.Tell(new Tick());
        Steps(10);
        Assert.Empty(rig.Expected);

        rig.Time.Advance(TimeSpan.FromMinutes(0.2));
        long granted = servers[0].Last<Clock>().GrantedUntil;
        rig.Tell(new Tick());
        Steps((int)(granted + 2 - step));

        Assert.Equal([granted + 1], rig.Expected);
        // Nothing more is due before it is written, and the interval counts from its beginning.
        rig.Time.Advance(TimeSpan.FromMinutes(3));
        rig.Tell(new CheckpointWritten(granted + 1, "runs/x"));
        rig.Tell(new Tick());
        Steps(10);
        Assert.Single(rig.Expected);
        rig.Time.Advance(TimeSpan.FromMinutes(2.1));
        rig.Tell(new Tick());
        Steps(200);
        Assert.Equal(2, rig.Expected.Count);

        void Steps(int count)
        {
            for (long end = step + count; step < end; step++) rig.Say(servers[0], rig.Applied(servers[0], step));
        }
    }

    [Fact]
    public void SlowDisk_HoldsNoStepForLong_AndIsTold()
    {
        var rig = new Rig(StepClockTests.Plan(stepsPerEpoch: 1000, totalSteps: 1000, checkpointEvery: 10));
        (List<Rig.Link> servers, _) = rig.Start();
        long step = 0;
        while (step < servers[0].Last<Clock>().GrantedUntil) rig.Say(servers[0], rig.Applied(servers[0], step++));
        Assert.Equal(29, step);
        Assert.Equal([10L, 20], rig.Expected);

        rig.Time.Advance(TimeSpan.FromSeconds(1));
        rig.Tell(new Tick());
        Assert.Equal(29, servers[0].Last<Clock>().GrantedUntil);
        rig.Time.Advance(TimeSpan.FromSeconds(1.4));
        rig.Tell(new Tick());
        for (; step < 100; step++) rig.Say(servers[0], rig.Applied(servers[0], step));

        Assert.Equal([10L, 20], rig.Expected);
        Assert.Contains("the checkpoint at step 30 is left out: that at step 10 has been on its way to the disk for 2 s", rig.Events);
        rig.Time.Advance(TimeSpan.FromSeconds(10));
        rig.Tell(new Tick());
        rig.Tell(new Tick());
        Assert.Single(rig.Events, "the checkpoint at step 10 has been on its way to the disk for 12 s; steps go on without it");

        rig.Tell(new CheckpointWritten(10, "runs/x"));
        rig.Tell(new CheckpointWritten(20, "runs/y"));
        Assert.Contains(rig.Events.OfType<string>(), e => e.StartsWith("checkpoints are being written again; ", StringComparison.Ordinal));
        for (; step < 400; step++) rig.Say(servers[0], rig.Applied(servers[0], step));
        Assert.True(rig.Expected.Max() > 100);
    }

    [Fact]
    public void FullDisk_IsTold_AndTheNextCheckpointIsTriedAnew()
    {
        var rig = new Rig(StepClockTests.Plan(stepsPerEpoch: 1000, totalSteps: 1000, checkpointEvery: 10));
        (List<Rig.Link> servers, _) = rig.Start();
        long step = 0;
        for (; step < 15; step++) rig.Say(servers[0], rig.Applied(servers[0], step));

        rig.Tell(new CheckpointFailed(10, "runs/x: No space left on device", ExitCode.Internal));
        for (; step < 25; step++) rig.Say(servers[0], rig.Applied(servers[0], step));

        Assert.Contains("runs/x: No space left on device", rig.Events);
        Assert.Null(rig.Outcome);
        Assert.Contains(20L, rig.Expected);
    }
}
