using System.Text.Json;
using DistTrain.Bench.Distributed;

namespace DistTrain.Bench.Tests;

public class StepPartsTests
{
    private static readonly StepSplit Split = new()
    {
        Steps = 100,
        StepMs = 10,
        ComputeMs = 6,
        CommunicationMs = 1.5,
        ReductionMs = 1,
        StallMs = 1,
        OtherMs = 0.5,
        ManagedBytesPerStep = new Dictionary<string, double>(StringComparer.Ordinal) { ["worker 2"] = 100, ["server 1"] = 4000 },
    };

    [Fact]
    public void Parts_are_shares_of_the_step_and_add_up()
    {
        List<BenchResult> results = [.. StepParts.Of("x", Split, 4)];
        Assert.Equal(("x", 10.0, "ideal", 4.0, 0.4), (results[0].Name, results[0].Value, results[0].Peer, results[0].PeerValue, results[0].Ratio));
        Assert.Equal(["x_compute", "x_exposed_communication", "x_reduction", "x_stall", "x_between"], results.Skip(1).Take(5).Select(r => r.Name));
        Assert.Equal(1.0, results.Skip(1).Take(5).Sum(r => r.Ratio!.Value), 12);
        Assert.Equal(("x_managed", 4000.0), (results[6].Name, results[6].Value));
    }

    [Fact]
    public void Split_is_read_from_the_result_of_a_run()
    {
        JsonElement result = JsonSerializer.SerializeToElement(new TrainResult { Split = Split });
        Assert.Equal(Split.StallMs, StepParts.Read(result)!.StallMs);
        Assert.Equal(4000, StepParts.Read(result)!.ManagedBytesPerStep["server 1"]);
        Assert.Null(StepParts.Read(JsonSerializer.SerializeToElement(new TrainResult())));
    }

    // Of 80 MB that two workers push, 40 leave each, or 20 where half of the servers is their own.
    [Theory]
    [InlineData(false, 40)]
    [InlineData(true, 20)]
    public void Ideal_is_the_link_where_that_is_slower_than_compute(bool colocated, double ms)
    {
        double link = new StepTraffic(80e6, 60e6, 1e9).LinkMs(2, colocated);
        Assert.Equal(ms, link, 9);
        Assert.Equal(ms, StepParts.IdealMs(Split, 2, link), 9);
        Assert.Equal(3, StepParts.IdealMs(Split, 2, 0), 9);
        Assert.Equal(0, new StepTraffic(80e6, 60e6, 0).LinkMs(2, colocated));
    }

    [Fact]
    public void Loopback_carries_something() => Assert.True(LoopbackLink.BytesPerSecond(0.05) > 0);
}
