using DistTrain.Composition;

namespace DistTrain.Tests.Composition;

public class StepTimesTests
{
    [Fact]
    public void Commits_HeardOfSeveralAtOnce_ShareTheTime()
    {
        var times = new StepTimes();
        for (int burst = 0; burst < 30; burst++)
        {
            times.Add(0.009);
            for (int i = 0; i < 8; i++) times.Add(0.00001);
        }

        // Nine steps in 9 ms and a bit.
        Assert.Equal(0.001, times.Median(), 5e-5);
        Assert.Equal(0.001, times.Mean(), 5e-5);
        Assert.Equal(30 * 0.00908, times.Sum, 1e-9);
    }

    [Fact]
    public void LongSteps_AreTimedOneByOne()
    {
        var times = new StepTimes();
        foreach (double seconds in (double[])[0.03, 0.5, 0.04, 0.02]) times.Add(seconds);
        Assert.Equal(0.035, times.Median(), 1e-9);
        Assert.Equal(0.59 / 4, times.Mean(), 1e-9);
    }

    [Fact]
    public void OneHiccup_LeavesTheMedianAlone()
    {
        var times = new StepTimes();
        for (int i = 0; i < 200; i++) times.Add(i == 50 ? 1 : 0.002);
        Assert.Equal(0.002, times.Median(), 1e-9);
    }

    [Fact]
    public void FewSteps_AreThereBeforeAMomentIsOver()
    {
        var times = new StepTimes();
        Assert.True(times.IsEmpty);
        times.Add(0.001);
        times.Add(0.003);
        Assert.False(times.IsEmpty);
        Assert.Equal((0.002, 0.002), (times.Median(), times.Mean()));
    }
}
