using DistTrain.Bench.Training;
using DistTrain.Kernels;

namespace DistTrain.Bench.Tests;

public class LocalStepTests
{
    public static TheoryData<string> Networks => [.. BenchNetwork.All.Select(n => n.Name)];

    [Theory]
    [MemberData(nameof(Networks))]
    public void A_step_allocates_no_managed_bytes(string name)
    {
        BenchNetwork network = BenchNetwork.All.Single(n => n.Name == name);
        using var step = new LocalStep(network.Spec, network.Input, network.Classes, network.Optimizer, network.Batch, shards: 8, KernelPool.Single, network.Vocabulary);
        step.Run();
        step.Run();
        long before = GC.GetAllocatedBytesForCurrentThread();
        step.Run();
        Assert.Equal(0, GC.GetAllocatedBytesForCurrentThread() - before);
        Assert.True(double.IsFinite(step.Loss));
    }

    [Fact]
    public void A_network_says_the_same_number_of_rows_to_PyTorch()
    {
        foreach (BenchNetwork network in BenchNetwork.All)
        {
            Assert.DoesNotContain("{rows}", network.TorchSetup(64), StringComparison.Ordinal);
            Assert.Contains("(64", network.TorchSetup(64), StringComparison.Ordinal);
        }
    }
}
