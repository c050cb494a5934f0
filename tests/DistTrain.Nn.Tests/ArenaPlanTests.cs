namespace DistTrain.Nn.Tests;

public sealed class ArenaPlanTests
{
    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    public void Offsets_RandomLives_NeverOverlapInUse(int seed)
    {
        var random = new Random(seed);
        ArenaRequest[] requests = [.. Enumerable.Range(0, 60).Select(_ =>
        {
            int first = random.Next(40);
            return new ArenaRequest(random.Next(200), first, first + random.Next(10));
        })];

        var plan = new ArenaPlan(requests);

        for (int i = 0; i < requests.Length; i++)
        {
            Assert.Equal(0, plan.Offsets[i] % ArenaPlan.Alignment);
            Assert.True(plan.Offsets[i] + requests[i].Length <= plan.Length);
            for (int j = 0; j < i; j++)
            {
                bool apart = plan.Offsets[i] + requests[i].Length <= plan.Offsets[j] || plan.Offsets[j] + requests[j].Length <= plan.Offsets[i];
                Assert.True(apart || !requests[i].Meets(requests[j]), $"{requests[i]} and {requests[j]} lie on each other");
            }
        }
    }

    [Fact]
    public void Offsets_LivesOneAfterAnother_ShareMemory()
    {
        ArenaRequest[] requests = [.. Enumerable.Range(0, 10).Select(i => new ArenaRequest(160, i, i))];

        Assert.Equal(160, new ArenaPlan(requests).Length);
    }

    [Fact]
    public void Run_DeepModel_ReusesGradientMemory()
    {
        // Twelve hidden values stay for backward; of their gradients only two are in use at once.
        ModelSpec spec = new([.. Enumerable.Range(0, 12).SelectMany(_ => new[] { Layers.Dense(64), Layers.Relu() }), Layers.Dense(2)]);
        using var run = new ModelRun(Model.Build(spec, Losses.SoftmaxCrossEntropy, [64], 2, 0), 32, Kernels.KernelPool.Single);

        Assert.True(run.Bytes < (13 + 2 + 1) * 32 * 64 * 4, $"{run.Bytes} bytes");
    }
}
