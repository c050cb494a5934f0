using System.Collections.Immutable;
using DistTrain.Core;
using DistTrain.Core.Layout;
using DistTrain.Training.Coordinator;

namespace DistTrain.Training.Tests.Coordinator;

public class LinkSharesTests
{
    private static readonly Random Random = new(7);

    // The paper's optimum, for n machines with a worker and a server each and k with a server alone.
    [Theory]
    [InlineData(2, 1)]
    [InlineData(4, 1)]
    [InlineData(4, 2)]
    [InlineData(8, 3)]
    [InlineData(8, 8)]
    [InlineData(3, 3)]
    public void EqualLinks_HaveTheClosedForm(int n, int k)
    {
        ImmutableArray<double> shares = LinkShares.Of([.. Enumerable.Repeat(new MachineLoad(1, 1, 0), n), .. Enumerable.Repeat(new MachineLoad(0, 1, 0), k)]);
        double below = ((double)n * n) + (k * n) - (2 * k);
        Assert.All(shares.Take(n), share => Assert.Equal((n - k) / below, share, 6));
        Assert.All(shares.Skip(n), share => Assert.Equal(2 * (n - 1) / below, share, 6));
    }

    [Fact]
    public void Shares_OfAnyMachines_AreNoWorseThanOthers()
    {
        for (int round = 0; round < 200; round++)
        {
            ImmutableArray<MachineLoad> machines = [.. Enumerable.Range(0, Random.Next(2, 5)).Select(_ => new MachineLoad(Random.Next(0, 3), Random.Next(0, 3), Random.Next(1, 20) * 1e8))];
            machines = machines.Add(new MachineLoad(1, 1, Random.Next(1, 20) * 1e8));
            ImmutableArray<double> best = LinkShares.Of(machines);
            Assert.Equal(1, best.Sum(), 6);
            Assert.All(best.Zip(machines), pair => Assert.True(pair.First >= -1e-9 && (pair.Second.Servers > 0 || pair.First == 0)));
            double least = Time(machines, best);
            for (int other = 0; other < 200; other++)
            {
                double[] tried = [.. machines.Select(m => m.Servers > 0 ? Random.NextDouble() * Random.NextDouble() : 0)];
                double sum = tried.Sum();
                Assert.True(Time(machines, [.. tried.Select(t => t / sum)]) >= least - 1e-6);
            }
        }
    }

    [Fact]
    public void LinksThatDifferLittle_OrAreNotKnown_CountAsEqual()
    {
        foreach (double[] speeds in (double[][])[[1e9, 1.2e9, 1.1e9], [0, 4e9, 1e9]])
        {
            ImmutableArray<MachineLoad> machines = [.. speeds.Select(s => new MachineLoad(0, 1, s)), new MachineLoad(4, 0, speeds[0])];
            Assert.Equal([1, 1, 1], LinkShares.Parted(machines, [0, 1, 2]).AsEnumerable());
        }
    }

    [Fact]
    public void ServerWithHalfTheLink_GetsHalfTheShare()
    {
        ImmutableArray<MachineLoad> machines = [new(0, 1, 1e9), new(0, 1, 2e9), new(4, 0, 1e10)];
        ImmutableArray<int> parts = LinkShares.Parted(machines, [0, 1]);
        Assert.Equal(2.0, (double)parts[1] / parts[0], 3);
    }

    [Fact]
    public void ServersOfOneMachine_ShareWhatItGets()
    {
        Assert.Equal([1, 1, 1], LinkShares.Parted([new(2, 3, 0)], [0, 0, 0]).AsEnumerable());
        ImmutableArray<int> parts = LinkShares.Parted([new(0, 2, 1e9), new(0, 1, 1e9), new(4, 0, 1e9)], [0, 1, 0]);
        Assert.Equal(parts[0], parts[2]);
        Assert.Equal(2.0, (double)parts[1] / parts[0], 3);
    }

    // 4 MB at 1 GB/s take 4 ms: with 40 µs a message, ten buckets.
    [Theory]
    [InlineData(1_000_000, 1, 40e-6, 1e9, 102_400)]
    [InlineData(1_000_000, 4, 40e-6, 1e9, 53_248)]
    [InlineData(1_000_000, 1, 1, 1e9, 1_003_520)]
    [InlineData(1_000_000, 1, 1e-9, 1e9, 16_384)]
    [InlineData(9_000, 1, 30e-6, 1e10, 12_288)]
    [InlineData(400_000_000, 1, 10, 1e9, BucketChoice.Longest)]
    [InlineData(1_000_000, 1, 0, 0, 125_000)]
    public void BucketLength_WeighsLatencyAgainstTheLastOne(int elements, int partitions, double latency, double rate, int length) =>
        Assert.Equal(length, BucketChoice.Length(new ParameterLayout([("w", [elements], TensorRole.Parameter)]), partitions, new LinkSpeed(latency, rate)));

    private static double Time(ImmutableArray<MachineLoad> machines, IReadOnlyList<double> shares)
    {
        int workers = machines.Sum(m => m.Workers);
        double most = machines.Max(m => m.BytesPerSecond), least = machines.Min(m => m.BytesPerSecond);
        return machines.Select((m, i) => LinkShares.Load(m, workers, shares[i]) / (most > 1.25 * least ? m.BytesPerSecond / most : 1)).Max();
    }
}
