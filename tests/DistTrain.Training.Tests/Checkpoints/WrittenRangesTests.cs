using DistTrain.Training.Checkpoints;

namespace DistTrain.Training.Tests.Checkpoints;

public class WrittenRangesTests
{
    [Fact]
    public void Add_RandomRanges_FindsTheFirstGapLikeAPlainList()
    {
        var random = new Random(11);
        for (int round = 0; round < 300; round++)
        {
            int length = random.Next(0, 40);
            var ranges = new WrittenRanges();
            var plain = new bool[length + 10];
            for (int n = random.Next(30); n > 0; n--)
            {
                int start = random.Next(length + 1);
                int end = Math.Min(start + random.Next(6), length + 5);
                ranges.Add(start, end);
                for (int i = start; i < end; i++) plain[i] = true;
                Assert.Equal(FirstMissing(plain, length), ranges.FirstMissing(length));
            }
        }
    }

    private static (long Start, long End)? FirstMissing(bool[] plain, int length)
    {
        int start = Array.IndexOf(plain, false, 0, length);
        if (start < 0) return null;
        int end = Array.IndexOf(plain, true, start, length - start);
        return (start, end < 0 ? length : end);
    }
}
