namespace DistTrain.Kernels;

/// <summary>The loops over vectors, written once: an operator says what happens to 16 lanes, a traversal says to which.</summary>
internal static unsafe class Traversal
{
    /// <summary>Elements that a thread should have at least: below, waking it costs more than it brings.</summary>
    public const int Grain = 32 * 1024;

    public static void Unary<TOperator>(TOperator op, float* x, float* y, nint length, KernelPool? pool)
        where TOperator : unmanaged, IUnaryOperator
    {
        Guard.Length(length, nameof(length));
        Guard.NotNull(x, length, nameof(x));
        Guard.NotNull(y, length, nameof(y));
        Guard.SameOrApart(y, x, length);
        RangeRunner.Run(new UnaryKernel<TOperator> { Operator = op, X = x, Y = y }, length, 16, Grain, pool);
    }

    public static void Binary<TOperator>(TOperator op, float* x, float* y, float* z, nint length, KernelPool? pool)
        where TOperator : unmanaged, IBinaryOperator
    {
        Guard.Length(length, nameof(length));
        Guard.NotNull(x, length, nameof(x));
        Guard.NotNull(y, length, nameof(y));
        Guard.NotNull(z, length, nameof(z));
        Guard.SameOrApart(z, x, length);
        Guard.SameOrApart(z, y, length);
        RangeRunner.Run(new BinaryKernel<TOperator> { Operator = op, X = x, Y = y, Z = z }, length, 16, Grain, pool);
    }

    private struct UnaryKernel<TOperator> : IRangeKernel
        where TOperator : unmanaged, IUnaryOperator
    {
        public TOperator Operator;
        public float* X;
        public float* Y;

        public readonly void Run<T>(nint begin, nint end)
            where T : struct, ILanes<T>
        {
            TOperator op = Operator;
            float* x = X;
            float* y = Y;
            nint i = begin;
            if (typeof(T) == typeof(Lanes512))
            {
                for (; i <= end - Lanes512Pair.Count; i += Lanes512Pair.Count)
                    Lanes512Pair.Store(y + i, op.Apply(Lanes512Pair.Load(x + i)));
            }
            for (; i <= end - 16; i += 16) T.Store(y + i, op.Apply(T.Load(x + i)));
            int rest = (int)(end - i);
            if (rest > 0) T.StorePartial(y + i, op.Apply(T.LoadPartial(x + i, rest)), rest);
        }
    }

    private struct BinaryKernel<TOperator> : IRangeKernel
        where TOperator : unmanaged, IBinaryOperator
    {
        public TOperator Operator;
        public float* X;
        public float* Y;
        public float* Z;

        public readonly void Run<T>(nint begin, nint end)
            where T : struct, ILanes<T>
        {
            TOperator op = Operator;
            float* x = X;
            float* y = Y;
            float* z = Z;
            nint i = begin;
            if (typeof(T) == typeof(Lanes512))
            {
                for (; i <= end - Lanes512Pair.Count; i += Lanes512Pair.Count)
                    Lanes512Pair.Store(z + i, op.Apply(Lanes512Pair.Load(x + i), Lanes512Pair.Load(y + i)));
            }
            for (; i <= end - 16; i += 16) T.Store(z + i, op.Apply(T.Load(x + i), T.Load(y + i)));
            int rest = (int)(end - i);
            if (rest > 0) T.StorePartial(z + i, op.Apply(T.LoadPartial(x + i, rest), T.LoadPartial(y + i, rest)), rest);
        }
    }
}
