using DistTrain.Training.ParameterServer;

namespace DistTrain.Training.Tests.ParameterServer;

public class TakenSegmentsTests
{
    [Fact]
    public void Segments_InAnyOrder_AreTakenUpToTheFirstThatIsMissing()
    {
        var random = new Random(3);
        var taken = new TakenSegments();
        var there = new HashSet<long>();
        for (int i = 0; i < 5000; i++)
        {
            long number = taken.Below + random.Next(-3, 100);
            taken.Add(number, 0);
            there.Add(number);
            long below = 0;
            while (there.Contains(below)) below++;
            Assert.Equal(below, taken.Below);
        }

        Assert.True(taken.Below > 50);
    }

    [Theory]
    [InlineData(3, 5)]
    [InlineData(4, 5)]
    [InlineData(7, 7)]
    [InlineData(1000, 1000)]
    public void Oldest_PassesThoseThatNeverCome(long oldest, long expected)
    {
        var taken = new TakenSegments();
        taken.Add(4, 0);
        Assert.Equal(0, taken.Below);
        taken.Add(3, oldest);
        Assert.Equal(expected, taken.Below);
    }
}
