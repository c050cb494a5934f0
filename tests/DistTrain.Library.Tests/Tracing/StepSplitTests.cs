using DistTrain.Core.Tracing;
using static DistTrain.Tests.Tracing.Traces;

namespace DistTrain.Tests.Tracing;

public class StepSplitTests
{
    private const int Steps = 20;

    // Of 1,000 µs: gather 50, forward 200, loss 10, backward 400 of which 40 pushes. Then it waits for 280 µs: for 100 the other
    // worker still computes, then the server reduces and applies for 120, and 60 are the way back. 60 are nothing in particular.
    private static IEnumerable<TraceEvent> Worker(int late)
    {
        for (int s = 0; s < Steps; s++)
        {
            long at = 1000 * s;
            yield return Span(TraceName.Gather, at, at + 50, s);
            yield return Span(TraceName.Forward, at + 50, at + 250, s);
            yield return Span(TraceName.Loss, at + 250, at + 260, s);
            yield return Span(TraceName.Pushed, at + 400 + late, at + 430 + late, s, 1, 0, 4);
            yield return Span(TraceName.BucketReady, at + 440 + late, at + 450 + late, s, 0);
            yield return Span(TraceName.Backward, at + 260, at + 660 + late, s);
            yield return Span(TraceName.WaitForWeights, at + 720, at + 1000, s + 1);
        }
    }

    private static IEnumerable<TraceEvent> LateWorker()
    {
        for (int s = 0; s < Steps; s++)
        {
            long at = 1000 * s;
            yield return Span(TraceName.Gather, at, at + 50, s);
            yield return Span(TraceName.Backward, at + 50, at + 820, s);
            yield return Span(TraceName.Pushed, at + 810, at + 820, s, 0, 4, 8);
            yield return Span(TraceName.WaitForWeights, at + 820, at + 1000, s + 1);
        }
    }

    private static IEnumerable<TraceEvent> Server()
    {
        for (int s = 0; s < Steps; s++)
        {
            long at = 1000 * s;
            yield return Span(TraceName.Reduced, at + 500, at + 510, s, 1, 0, 4);
            yield return Span(TraceName.Reduced, at + 830, at + 850, s, 0, 4, 8);
            yield return Span(TraceName.Applied, at + 850, at + 950, s, 0);
            yield return new TraceEvent { Name = TraceName.ManagedBytes, Start = 1000 * (at + 960), Value = 640 * s };
        }
    }

    [Fact]
    public void Parts_AreWhatTheyWereMadeOf()
    {
        StepSplit split = StepSplit.Of([Traces.Worker(2, [.. Worker(0)]), Traces.Worker(3, [.. LateWorker()]), Traces.Server(1, [.. Server()])])!;
        Assert.Equal(2 * (Steps - 11), split.Steps);
        Assert.Equal(1.0, split.StepMs, 9);
        Assert.Equal((0.620 + 0.810) / 2, split.ComputeMs, 9);
        Assert.Equal((0.040 + 0.060 + 0.010 + 0.060) / 2, split.CommunicationMs, 9);
        Assert.Equal(0.120, split.ReductionMs, 9);
        Assert.Equal(0.100 / 2, split.StallMs, 9);
        Assert.Equal(0.060 / 2, split.OtherMs, 9);
        Assert.Equal(640, Assert.Single(split.ManagedBytesPerStep).Value);
    }

    [Fact]
    public void StepsAroundEvaluations_AreLeftOut()
    {
        TraceEvent evaluation = Span(TraceName.Evaluate, 15_900, 16_100, 16);
        StepSplit split = StepSplit.Of([Traces.Worker(2, [.. Worker(0), evaluation]), Traces.Server(1, [.. Server()])])!;
        Assert.Equal(Steps - 11 - 2, split.Steps);
    }

    [Fact]
    public void FewSteps_AreNoSplit() => Assert.Null(StepSplit.Of([Traces.Worker(2, [.. Worker(0).TakeWhile(e => e.Value < 12)])]));
}
