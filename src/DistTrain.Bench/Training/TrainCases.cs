using DistTrain.Kernels;

namespace DistTrain.Bench.Training;

/// <summary>What <c>bench train</c> measures: whole training steps of one worker with one thread.</summary>
public static class TrainCases
{
    private const int Shards = 8;

    private const string Step = """
        optimizer.zero_grad(set_to_none=True)
        F.cross_entropy(model(x), y).backward()
        optimizer.step()
        """;

    /// <summary>All cases.</summary>
    public static IEnumerable<BenchCase> All => BenchNetwork.All.Select(Of);

    private static BenchCase Of(BenchNetwork network)
    {
        double flops = LocalStep.Flops(network.Spec, network.Input, network.Classes, network.Batch);
        return new BenchCase($"train_{network.Name}_batch_{network.Batch}", BenchUnit.Gflops, flops, s =>
        {
            var step = new LocalStep(network.Spec, network.Input, network.Classes, network.Optimizer, network.Batch, Shards, KernelPool.Single, network.Vocabulary);
            s.Own(step);
            s.Ours(step.Run);
            foreach (bool last in network.HasLayouts ? [false, true] : (bool[])[false])
            {
                string setup = network.TorchSetup(network.Batch, last), name = last ? "pytorch_channels_last" : "pytorch";
                s.Torch($"{setup}\n{network.TorchUpdate(together: false)}", Step, name);
                s.Torch($"{setup}\n{network.TorchUpdate(together: true)}", Step, name + "_foreach");
            }
            s.FmaPeak();
        });
    }
}
