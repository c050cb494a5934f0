using DistTrain.Training.Coordinator;

namespace DistTrain.Training.Tests.Coordinator;

public class GrantPaceTests
{
    [Theory]
    [InlineData(0.5, 64)]
    [InlineData(10, 10)]
    [InlineData(1000, StepClock.Window)]
    public void Window_StepsOfSoManyMilliseconds_IsATenthOfASecond(double milliseconds, int window)
    {
        var time = new Steps();
        var pace = new GrantPace(time);
        Assert.Equal(StepClock.Window, pace.Window);
        for (int i = 0; i < 100; i++)
        {
            pace.Committed();
            time.Now += (long)(milliseconds * 1000);
        }

        Assert.Equal(window, pace.Window);
    }

    private sealed class Steps : TimeProvider
    {
        public long Now { get; set; }

        public override long TimestampFrequency => 1_000_000;

        public override long GetTimestamp() => Now;
    }
}
