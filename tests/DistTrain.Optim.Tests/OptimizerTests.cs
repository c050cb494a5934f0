using DistTrain.Kernels;

namespace DistTrain.Optim.Tests;

/// <summary>Update rules against PyTorch's formulas in double, and their independence of ranges, threads and vectors.</summary>
public sealed unsafe class OptimizerTests
{
    private const int Steps = 6;
    private const double TotalWeight = 13;

    private static readonly Dictionary<string, OptimizerSpec> Specs = new()
    {
        ["sgd"] = new SgdSpec(0.1, Momentum: 0),
        ["sgd with decay"] = new SgdSpec(0.1, Momentum: 0, WeightDecay: 0.05),
        ["momentum"] = new SgdSpec(0.1, 0.9),
        ["nesterov with decay"] = new SgdSpec(0.1, 0.8, Nesterov: true, WeightDecay: 0.05),
        ["adam"] = new AdamSpec(0.01),
        ["adam with decay"] = new AdamSpec(0.01, 0.8, 0.99, 1e-6, 0.05),
        ["rmsprop"] = new RmsPropSpec(0.01),
        ["rmsprop with all"] = new RmsPropSpec(0.01, 0.9, 1e-6, 0.5, 0.05, Centered: true),
        ["adagrad"] = new AdagradSpec(0.1, WeightDecay: 0.05),
        ["lion"] = new LionSpec(0.01, WeightDecay: 0.1),
        ["adamw"] = new AdamSpec(0.01, WeightDecay: 0.1, Decoupled: true),
    };

    public static TheoryData<string> Names() => new(Specs.Keys);

    [Theory]
    [MemberData(nameof(Names))]
    public void Update_SeveralSteps_FollowsTheFormula(string name)
    {
        float[] weights = Run(Specs[name], 100, [0, 100], KernelPool.Single);

        for (int i = 0; i < 100; i++) Assert.Equal(Formula(Specs[name], i), weights[i], 2e-6);
    }

    [Theory]
    [MemberData(nameof(Names))]
    public void Update_AnyRangesThreadsAndVectors_SameBits(string name)
    {
        const int Length = 60_000;
        float[] whole = Run(Specs[name], Length, [0, Length], KernelPool.Single);
        using var pool = new KernelPool(3);

        Assert.Equal(whole, Run(Specs[name], Length, [0, 16, 4096, 4112, 33_333, Length], pool));
        using SimdPath.Scope scope = SimdPath.Force(SimdLevel.Vector128);
        Assert.Equal(whole, Run(Specs[name], Length, [0, Length], KernelPool.Single));
    }

    [Theory]
    [MemberData(nameof(Names))]
    public void Update_AfterWarmUp_AllocatesNothing(string name)
    {
        OptimizerSpec spec = Specs[name];
        IOptimizer optimizer = spec.Create();
        using var buffer = new NativeBuffer(5000);
        float* p = buffer.Pointer;
        nint[] state = [(nint)(p + 2000), (nint)(p + 3000), (nint)(p + 4000)];
        void Update(long step) => optimizer.Update(
            new UpdateContext(step, 8, spec.LearningRate), p, p + 1000, state.AsSpan(0, spec.StateVectors.Length), 1000, KernelPool.Single);
        for (int i = 1; i <= 20; i++) Update(i);

        long before = GC.GetAllocatedBytesForCurrentThread();
        for (int i = 21; i <= 30; i++) Update(i);
        long allocated = GC.GetAllocatedBytesForCurrentThread() - before;

        Assert.Equal(0, allocated);
    }

    private static float Weight(int i) => (float)Math.Sin(i * 0.7) * 2;

    private static float GradientSum(int i, int step) => (float)(Math.Cos((i * 1.3) + step) * TotalWeight * (1 + (i % 7)));

    private static float[] Run(OptimizerSpec spec, int length, int[] edges, KernelPool pool)
    {
        IOptimizer optimizer = spec.Create();
        using var weights = new NativeBuffer(length);
        using var gradient = new NativeBuffer(length);
        NativeBuffer[] state = [.. spec.StateVectors.Select(_ => new NativeBuffer(length))];
        for (int i = 0; i < length; i++) weights.Pointer[i] = Weight(i);
        for (int step = 1; step <= Steps; step++)
        {
            for (int i = 0; i < length; i++) gradient.Pointer[i] = GradientSum(i, step);
            // The ranges backwards: their order does not matter either.
            for (int e = edges.Length - 1; e > 0; e--)
            {
                int at = edges[e - 1];
                nint[] pointers = [.. state.Select(s => (nint)(s.Pointer + at))];
                optimizer.Update(new UpdateContext(step, TotalWeight, spec.LearningRate), weights.Pointer + at, gradient.Pointer + at, pointers, edges[e] - at, pool);
            }
        }

        float[] result = weights.Span.ToArray();
        foreach (NativeBuffer buffer in state) buffer.Dispose();
        return result;
    }

    // torch.optim.SGD, Adam and AdamW, for one parameter.
    private static double Formula(OptimizerSpec spec, int i)
    {
        double w = Weight(i);
        double velocity = 0;
        double first = 0;
        double second = 0;
        for (int step = 1; step <= Steps; step++)
        {
            double g = GradientSum(i, step) / TotalWeight;
            if (spec is SgdSpec sgd)
            {
                g += sgd.WeightDecay * w;
                velocity = step == 1 ? g : (sgd.Momentum * velocity) + g;
                if (sgd.Momentum != 0) g = sgd.Nesterov ? g + (sgd.Momentum * velocity) : velocity;
                w -= sgd.LearningRate * g;
                continue;
            }

            if (spec is not AdamSpec adam)
            {
                w = Other(spec, w, g, ref velocity, ref first, ref second);
                continue;
            }

            if (adam.Decoupled) w *= 1 - (adam.LearningRate * adam.WeightDecay);
            else g += adam.WeightDecay * w;
            first = (adam.Beta1 * first) + ((1 - adam.Beta1) * g);
            second = (adam.Beta2 * second) + ((1 - adam.Beta2) * g * g);
            double denominator = (Math.Sqrt(second) / Math.Sqrt(1 - Math.Pow(adam.Beta2, step))) + adam.Epsilon;
            w -= adam.LearningRate / (1 - Math.Pow(adam.Beta1, step)) * first / denominator;
        }

        return w;
    }

    // torch.optim.RMSprop and Adagrad; Lion as in its paper.
    private static double Other(OptimizerSpec spec, double w, double g, ref double velocity, ref double first, ref double second)
    {
        switch (spec)
        {
            case RmsPropSpec rms:
                g += rms.WeightDecay * w;
                second = (rms.Decay * second) + ((1 - rms.Decay) * g * g);
                first = (rms.Decay * first) + ((1 - rms.Decay) * g);
                double change = g / (Math.Sqrt(rms.Centered ? second - (first * first) : second) + rms.Epsilon);
                velocity = (rms.Momentum * velocity) + change;
                return w - (rms.LearningRate * velocity);
            case AdagradSpec adagrad:
                g += adagrad.WeightDecay * w;
                second += g * g;
                return w - (adagrad.LearningRate * g / (Math.Sqrt(second) + adagrad.Epsilon));
            default:
                var lion = (LionSpec)spec;
                w *= 1 - (lion.LearningRate * lion.WeightDecay);
                w -= lion.LearningRate * Math.Sign((lion.Beta1 * first) + ((1 - lion.Beta1) * g));
                first = (lion.Beta2 * first) + ((1 - lion.Beta2) * g);
                return w;
        }
    }
}
