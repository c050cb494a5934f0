using DistTrain.Data;
using DistTrain.Kernels;
using DistTrain.Nn;
using DistTrain.Training.Worker;

namespace DistTrain.Training.Tests.Worker;

public sealed class PinningTests
{
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task Receive_WithCores_PinsTheActorsThread(bool pins)
    {
        if (!CoreSet.Supported) return;
        int core = CoreSet.OfCurrentThread()[0];
        var model = Model.Build(new([Layers.Dense(4)]), Losses.SoftmaxCrossEntropy, [3], 4, 0);
        var data = new ArrayDataset(new float[30], [3], new int[10], 4);
        var setup = new WorkerSetup(model, data, null, 1, 4, 2, Threads: 1) { Cores = pins ? new CoreSet(core) : null };
        await using var worker = new Training.Worker.Worker(setup, channel: null!, 1, TimeSpan.Zero, _ => { }, _ => { });
        string before = "", after = "";
        var thread = new Thread(() =>
        {
            before = CoreSet.OfCurrentThread().ToString();
            worker.ReceiveAsync("nothing that it knows", null!).AsTask().GetAwaiter().GetResult();
            after = CoreSet.OfCurrentThread().ToString();
        });
        thread.Start();
        thread.Join();
        Assert.Equal(pins ? $"{core}" : before, after);
    }
}
