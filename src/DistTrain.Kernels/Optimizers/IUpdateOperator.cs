namespace DistTrain.Kernels;

/// <summary>
/// The rule of an optimizer for 16 parameters: their weights, up to two states each, and the mean gradient.
/// </summary>
internal interface IUpdateOperator
{
    /// <summary>How many states each parameter has: 0, 1 or 2.</summary>
    static abstract int States { get; }

    void Apply<T>(ref T weight, ref T first, ref T second, T gradient)
        where T : struct, ILanes<T>;
}

/// <summary>One pass over weights, states and gradient sums: the gradient is divided once by the total weight.</summary>
internal static unsafe class UpdateTraversal
{
    public static void Run<TOperator>(
        TOperator op, float* weights, float* first, float* second, float* gradientSums, float totalWeight, nint length, KernelPool? pool)
        where TOperator : unmanaged, IUpdateOperator
    {
        Guard.Length(length, nameof(length));
        Guard.NotNull(weights, length, nameof(weights));
        Guard.NotNull(gradientSums, length, nameof(gradientSums));
        Guard.Apart(weights, length, gradientSums, length);
        if (TOperator.States > 0)
        {
            Guard.NotNull(first, length, nameof(first));
            Guard.Apart(weights, length, first, length);
            Guard.Apart(gradientSums, length, first, length);
        }
        if (TOperator.States > 1)
        {
            Guard.NotNull(second, length, nameof(second));
            Guard.Apart(weights, length, second, length);
            Guard.Apart(gradientSums, length, second, length);
            Guard.Apart(first, length, second, length);
        }
        var kernel = new Kernel<TOperator>
        {
            Operator = op,
            Weights = weights,
            First = first,
            Second = second,
            Gradients = gradientSums,
            TotalWeight = totalWeight,
        };
        RangeRunner.Run(kernel, length, 16, Traversal.Grain / 2, pool);
    }

    private struct Kernel<TOperator> : IRangeKernel
        where TOperator : unmanaged, IUpdateOperator
    {
        public TOperator Operator;
        public float* Weights;
        public float* First;
        public float* Second;
        public float* Gradients;
        public float TotalWeight;

        public readonly void Run<T>(nint begin, nint end)
            where T : struct, ILanes<T>
        {
            TOperator op = Operator;
            float* w = Weights;
            float* s1 = First;
            float* s2 = Second;
            float* g = Gradients;
            T total = T.Broadcast(TotalWeight);
            nint i = begin;
            for (; i <= end - 16; i += 16)
            {
                T weight = T.Load(w + i);
                T first = TOperator.States > 0 ? T.Load(s1 + i) : T.Zero;
                T second = TOperator.States > 1 ? T.Load(s2 + i) : T.Zero;
                op.Apply(ref weight, ref first, ref second, T.Load(g + i) / total);
                T.Store(w + i, weight);
                if (TOperator.States > 0) T.Store(s1 + i, first);
                if (TOperator.States > 1) T.Store(s2 + i, second);
            }
            if (i < end)
            {
                int rest = (int)(end - i);
                T weight = T.LoadPartial(w + i, rest);
                T first = TOperator.States > 0 ? T.LoadPartial(s1 + i, rest) : T.Zero;
                T second = TOperator.States > 1 ? T.LoadPartial(s2 + i, rest) : T.Zero;
                op.Apply(ref weight, ref first, ref second, T.LoadPartial(g + i, rest) / total);
                T.StorePartial(w + i, weight, rest);
                if (TOperator.States > 0) T.StorePartial(s1 + i, first, rest);
                if (TOperator.States > 1) T.StorePartial(s2 + i, second, rest);
            }
        }
    }
}
