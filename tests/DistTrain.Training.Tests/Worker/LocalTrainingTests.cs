using DistTrain.Training.Worker;

namespace DistTrain.Training.Tests.Worker;

public class LocalTrainingTests
{
    [Theory]
    [InlineData(1, 7)]
    [InlineData(3, 7)]
    [InlineData(7, 7)]
    [InlineData(16, 7)]
    public void MiniBatches_OfAllRounds_AreEachOnceAndNeverOfTwoEpochs(int every, long perEpoch)
    {
        long rounds = (perEpoch + every - 1) / every;
        var seen = new List<long>();
        for (long round = 0; round < 3 * rounds; round++)
        {
            (long first, int count) = LocalRule.MiniBatches(round, every, perEpoch);
            Assert.InRange(count, 1, every);
            Assert.Equal(first / perEpoch, (first + count - 1) / perEpoch);
            for (int i = 0; i < count; i++) seen.Add(first + i);
        }

        Assert.Equal(Enumerable.Range(0, (int)(3 * perEpoch)).Select(i => (long)i), seen);
    }
}
