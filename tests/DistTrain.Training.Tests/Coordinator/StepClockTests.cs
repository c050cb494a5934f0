using DistTrain.Core.Messages;
using DistTrain.Training.Coordinator;

namespace DistTrain.Training.Tests.Coordinator;

public class StepClockTests
{
    internal static TrainingPlan Plan(long stepsPerEpoch = 10, long totalSteps = 20, long checkpointEvery = 0, long first = 0, bool evaluates = true, int workers = 2, int servers = 1) => new()
    {
        JobText = "name: test",
        JobHash = "job",
        DataHash = "data",
        Data = new DataFacts([4], 2, 1, 100, 20),
        NumericsRevision = 1,
        Shards = 4,
        StepsPerEpoch = stepsPerEpoch,
        TotalSteps = totalSteps,
        Evaluates = evaluates,
        CheckpointEvery = checkpointEvery,
        Workers = workers,
        Servers = servers,
        MostPartitions = 8,
        BucketLength = 4096,
        FirstVersion = first,
        FailureTimeout = TimeSpan.FromSeconds(3),
        JoinTimeout = TimeSpan.FromSeconds(60),
    };

    private static void RunTo(StepClock clock, long version)
    {
        while (clock.Committed < version)
        {
            clock.Grant();
            Assert.True(clock.Granted > clock.Committed, $"stuck at {clock.Committed}");
            Assert.True(clock.Applied(0, clock.Committed, 1));
        }
    }

    [Fact]
    public void Grant_WithoutEvaluations_StaysAWindowAhead()
    {
        var clock = new StepClock(Plan(evaluates: false));
        Assert.True(clock.Grant());
        Assert.Equal(StepClock.Window, clock.Granted);
        Assert.False(clock.Grant());
        RunTo(clock, 19);
        clock.Grant();
        Assert.Equal(20, clock.Granted);
    }

    [Fact]
    public void Grant_BeforeAnEvaluation_StopsAtItsVersion()
    {
        var clock = new StepClock(Plan());
        RunTo(clock, 10);
        Assert.True(clock.EvaluationDue);
        Assert.False(clock.Grant());
        Assert.Equal(10, clock.Granted);
        clock.Evaluated(10);
        Assert.False(clock.EvaluationDue);
        Assert.True(clock.Grant());
        Assert.Equal(14, clock.Granted);
    }

    [Fact]
    public void Applied_ByEveryPartitionOnce_Commits()
    {
        var clock = new StepClock(Plan());
        clock.Grant();
        Assert.False(clock.Applied(0, 0, 2));
        Assert.False(clock.Applied(0, 0, 2));
        Assert.False(clock.Applied(1, 1, 2));
        Assert.Equal(0, clock.Committed);
        Assert.True(clock.Applied(1, 0, 2));
        Assert.Equal(1, clock.Committed);
    }

    [Fact]
    public void Applied_OfTheNextStepBeforeAnotherPartitionsReport_IsRemembered()
    {
        var clock = new StepClock(Plan());
        clock.Grant();
        clock.Applied(0, 0, 2);
        Assert.False(clock.Applied(0, 1, 2));
        Assert.True(clock.Applied(1, 0, 2));
        Assert.True(clock.Applied(1, 1, 2));
        Assert.Equal(2, clock.Committed);
    }

    [Fact]
    public void Checkpoints_WithinTheGrant_AreNamedInTime()
    {
        var clock = new StepClock(Plan(evaluates: false, checkpointEvery: 3, totalSteps: 8));
        clock.Grant();
        Assert.Equal([3L], clock.Checkpoints.AsEnumerable());
        RunTo(clock, 5);
        clock.Settled(3);
        clock.Grant();
        Assert.Equal([6L, 8], clock.Checkpoints.AsEnumerable());
    }

    [Fact]
    public void Checkpoints_AfterAResume_LeaveOutTheOneThatItResumesFrom()
    {
        var clock = new StepClock(Plan(evaluates: false, checkpointEvery: 3, totalSteps: 8, first: 3));
        clock.Grant();
        Assert.Equal([6L], clock.Checkpoints.AsEnumerable());
    }

    [Fact]
    public void Grant_WhileTwoCheckpointsAreUnwritten_StopsBeforeTheThird()
    {
        var clock = new StepClock(Plan(evaluates: false, checkpointEvery: 1, totalSteps: 8));
        clock.Grant();
        Assert.Equal(2, clock.Granted);
        clock.Applied(0, 0, 1);
        Assert.False(clock.Grant());
        clock.Settled(1);
        Assert.True(clock.Grant());
        Assert.Equal(3, clock.Granted);
    }

    [Fact]
    public void Grant_WhileTheDiskIsSlow_LeavesCheckpointsOutButTheLast()
    {
        bool slow = false;
        var left = new List<long>();
        var clock = new StepClock(Plan(evaluates: false, checkpointEvery: 1, totalSteps: 8))
        {
            LeavesOut = version =>
            {
                if (slow) left.Add(version);
                return slow;
            },
        };
        clock.Grant();
        Assert.Equal(2, clock.Granted);
        slow = true;
        Assert.True(clock.Grant());
        RunTo(clock, 4);
        clock.Grant();
        Assert.Equal([3L, 4, 5, 6, 7], left);
        // The last one is the result.
        Assert.Equal(7, clock.Granted);
        clock.Settled(1);
        Assert.True(clock.Grant());
        Assert.Equal([8L], clock.Checkpoints.AsEnumerable());
    }

    [Fact]
    public void SaveNext_NamesTheFirstVersionThatNobodyHasBeenGranted()
    {
        var clock = new StepClock(Plan(evaluates: false, totalSteps: 100));
        clock.Grant();
        clock.SaveNext();
        Assert.Empty(clock.Checkpoints);
        RunTo(clock, 3);
        clock.Grant();
        Assert.Equal([5L], clock.Checkpoints.AsEnumerable());
    }

    [Fact]
    public void EndEarly_InTheMiddle_EndsAtTheGrantAndSavesThere()
    {
        var clock = new StepClock(Plan());
        RunTo(clock, 5);
        clock.Grant();
        clock.EndEarly();
        Assert.Equal(9, clock.End);
        Assert.False(clock.Grant());
        Assert.Equal([9L], clock.Checkpoints.AsEnumerable());
        RunTo(clock, 9);
        Assert.False(clock.EvaluationDue);
    }

    // Workers that hold gradients back have to know before a step that its version is saved.
    [Theory]
    [InlineData(5, 10)]
    [InlineData(10, 11)]
    [InlineData(17, 20)]
    public void EndEarly_WhereSavingIsForetold_EndsAStepBehindTheGrant(long committed, long end)
    {
        var clock = new StepClock(Plan(evaluates: committed <= 10) with { ForetellsSaving = true });
        RunTo(clock, committed);
        clock.Grant();
        long granted = clock.Granted;
        clock.EndEarly();
        clock.Grant();
        Assert.Equal(end, clock.End);
        if (clock.Granted == granted) Assert.DoesNotContain(end, clock.Checkpoints.Where(v => v > granted));
        while (clock.Committed < clock.End)
        {
            clock.Grant();
            // Whatever is granted is foretold in the same breath.
            Assert.Equal(clock.Granted == end, clock.Checkpoints.Contains(end));
            clock.Applied(0, clock.Committed, 1);
        }
    }

    [Fact]
    public void Evaluation_OfAJobResumedAtItsEnd_IsDueAtOnce()
    {
        var clock = new StepClock(Plan(first: 20));
        Assert.True(clock.EvaluationDue);
        Assert.Equal([20L], clock.Checkpoints.AsEnumerable());
    }
}
