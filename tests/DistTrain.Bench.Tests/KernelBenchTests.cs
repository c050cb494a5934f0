using System.Text.RegularExpressions;
using DistTrain.Bench.Training;

namespace DistTrain.Bench.Tests;

public class KernelBenchTests
{
    private static readonly KernelBenchOptions Alone = new() { Peers = false, Seconds = 0.001, BurstSeconds = 0.0001, Core = -1 };

    [Fact]
    public void Cases_Names_AreUniqueAndInSnakeCase()
    {
        string[] names = [.. KernelCases.All.Concat(TrainCases.All).Select(c => c.Name)];
        Assert.Equal(names.Distinct(), names);
        Assert.All(names, n => Assert.True(Regex.IsMatch(n, "^[a-z0-9]+(_[a-z0-9]+)*$", RegexOptions.ExplicitCapture, TimeSpan.FromSeconds(1)), n));
    }

    [Fact]
    public void Run_PeerThatTakesAFixedTime_RatioIsOfRates()
    {
        // Ours takes 2 units a call, the peer 6 for three times the work: equal rates.
        var one = new BenchCase("even", BenchUnit.Gflops, 10, s =>
        {
            s.Ours(new Scripted("ours", 10, 2e-6));
            s.Peer(new Scripted("peer", 30, 6e-6));
            s.Peer(new Scripted("slow", 10, 8e-6));
        });
        BenchResult[] results = [.. KernelBench.Run([one], Alone, _ => { })];
        Assert.Equal(["peer", "slow"], results.Select(r => r.Peer));
        Assert.Equal(1.0, results[0].Ratio!.Value, 9);
        Assert.Equal(4.0, results[1].Ratio!.Value, 9);
        Assert.Equal(10 / 2e-6 / 1e9, results[0].Value, 9);
        Assert.Equal(results[1].Ratio, results[1].RatioLow);
        Assert.Equal("GFLOP/s", results[0].Unit);
    }

    [Fact]
    public void Run_Microseconds_AreATime()
    {
        var one = new BenchCase("time", BenchUnit.Microseconds, 1, s => s.Ours(new Scripted("ours", 1, 5e-6)));
        BenchResult result = Assert.Single(KernelBench.Run([one], Alone, _ => { }));
        Assert.Equal((5.0, "us", null, null), (Math.Round(result.Value, 9), result.Unit, result.Peer, result.Ratio));
    }

    [Fact]
    public void Run_WithoutPyTorch_TheRowStaysWithoutAValue()
    {
        var one = new BenchCase("missing", BenchUnit.Microseconds, 1, s =>
        {
            s.Ours(new Scripted("ours", 1, 5e-6));
            s.Torch("", "");
        });
        BenchResult result = Assert.Single(KernelBench.Run([one], Alone, _ => { }));
        Assert.Equal(("pytorch", null, null), (result.Peer, result.PeerValue, result.Ratio));
    }

    [Fact]
    public void Run_PythonThatIsNotThereOrNone_NamesIt()
    {
        var one = new BenchCase("none", BenchUnit.Microseconds, 1, s => s.Ours(new Scripted("ours", 1, 5e-6)));
        foreach (string python in new[] { "/nowhere/python", Environment.ProcessPath! })
        {
            var failure = Assert.Throws<Core.DistTrainException>(() => KernelBench.Run([one], Alone with { Peers = true, Python = python }, _ => { }).ToList());
            Assert.Equal($"--python: '{python}' is no Python that has PyTorch", failure.Message);
        }
    }

    [Fact]
    public void Run_Filter_ByPartOfTheName()
    {
        BenchCase Named(string name) => new(name, BenchUnit.Microseconds, 1, s => s.Ours(new Scripted("ours", 1, 5e-6)));
        IEnumerable<BenchResult> results = KernelBench.Run([Named("gemm_a"), Named("conv_a")], Alone with { Filters = ["conv"] }, _ => { });
        Assert.Equal("conv_a", Assert.Single(results).Name);
    }

    [Fact]
    public void TrainStep_LossFalls_OnItsOneBatch()
    {
        using var step = new LocalStep(
            new([Nn.Layers.Dense(32), Nn.Layers.Relu(), Nn.Layers.Dense(4)]), [20], 4, new Optim.SgdSpec(0.1, 0.9), 32, 8, Kernels.KernelPool.Single);
        step.Run();
        double first = step.Loss;
        for (int i = 0; i < 60; i++) step.Run();
        Assert.True(step.Loss < first / 2, $"from {first} to {step.Loss}");
    }

    /// <summary>Says that each call took a given time.</summary>
    private sealed class Scripted(string name, double work, double seconds) : Contender(name, work)
    {
        public override double Burst(int calls) => calls * seconds;
    }
}
