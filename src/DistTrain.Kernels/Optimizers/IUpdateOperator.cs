using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics.X86;

namespace DistTrain.Kernels;

/// <summary>
/// The rule of an optimizer for 16 parameters: their weights, up to three states each, and the mean gradient.
/// </summary>
internal interface IUpdateOperator
{
    /// <summary>How many states each parameter has: 0 to 3.</summary>
    static abstract int States { get; }

    /// <summary>Whether the weights change; else they are only read.</summary>
    static virtual bool ChangesWeights => true;

    /// <summary>Whether the last state is only written.</summary>
    static virtual bool LastStateIsOutput => false;

    void Apply<T>(ref T weight, ref T first, ref T second, ref T third, T gradient)
        where T : struct, ILanes<T>;
}

/// <summary>The arrays of an update: (length) each; null for the states that the rule lacks.</summary>
internal unsafe struct UpdateArrays
{
    public float* Weights;
    public float* First;
    public float* Second;
    public float* Third;
}

/// <summary>One pass over weights, states and gradient sums: the gradient is divided once by the total weight.</summary>
internal static unsafe class UpdateTraversal
{
    // How many elements ahead of the loop memory is asked for.
    private const int Ahead = 512;

    public static void Run<TOperator>(TOperator op, UpdateArrays arrays, in SummedGradient gradient, nint length, KernelPool? pool)
        where TOperator : unmanaged, IUpdateOperator
    {
        Guard.Length(length, nameof(length));
        Guard.NotNull(gradient.Values, length, "gradientSums");
        nint bytes = length * gradient.Format.Size();
        float** all = stackalloc float*[] { arrays.Weights, arrays.First, arrays.Second, arrays.Third };
        for (int i = 0; i <= TOperator.States; i++)
        {
            Guard.NotNull(all[i], length, i switch { 0 => "weights", 1 => "first state", 2 => "second state", _ => "third state" });
            Guard.BytesApart(all[i], length * sizeof(float), gradient.Values, bytes);
            for (int j = 0; j < i; j++) Guard.Apart(all[i], length, all[j], length);
        }
        switch (gradient.Format)
        {
            case FloatFormat.BFloat16: Start<TOperator, BFloat16Format>(op, arrays, in gradient, length, pool); break;
            case FloatFormat.Float16: Start<TOperator, Float16Format>(op, arrays, in gradient, length, pool); break;
            default: Start<TOperator, Float32Format>(op, arrays, in gradient, length, pool); break;
        }
    }

    private static void Start<TOperator, TFormat>(TOperator op, UpdateArrays arrays, in SummedGradient gradient, nint length, KernelPool? pool)
        where TOperator : unmanaged, IUpdateOperator
        where TFormat : struct, IFormat =>
        RangeRunner.Run(
            new Kernel<TOperator, TFormat>
            {
                Operator = op,
                Arrays = arrays,
                Gradients = gradient.Values,
                TotalWeight = gradient.TotalWeight,
                Scale = gradient.Scale,
            },
            length,
            16,
            Traversal.Grain / 2,
            pool);

    private struct Kernel<TOperator, TFormat> : IRangeKernel
        where TOperator : unmanaged, IUpdateOperator
        where TFormat : struct, IFormat
    {
        public TOperator Operator;
        public UpdateArrays Arrays;
        public void* Gradients;
        public float TotalWeight;
        public float Scale;

        public readonly void Run<T>(nint begin, nint end)
            where T : struct, ILanes<T>
        {
            TOperator op = Operator;
            float* w = Arrays.Weights;
            float* s1 = Arrays.First;
            float* s2 = Arrays.Second;
            float* s3 = Arrays.Third;
            // A division by a power of two is a product, to the bit, and much cheaper.
            bool exact = float.IsPow2(TotalWeight) && float.IsNormal(1 / TotalWeight);
            T total = T.Broadcast(exact ? 1 / TotalWeight : TotalWeight);
            T scale = T.Broadcast(Scale);
            bool scaled = Scale != 1;
            nint i = begin;
            for (; i <= end - 16; i += 16)
            {
                Prefetch(Arrays, Gradients, i + Ahead);
                T gradient = Mean(TFormat.Load<T>(Gradients, i), total, exact);
                if (scaled) gradient *= scale;
                T weight = T.Load(w + i);
                T first = TOperator.States > 0 ? T.Load(s1 + i) : T.Zero;
                T second = TOperator.States > 1 ? T.Load(s2 + i) : T.Zero;
                T third = TOperator.States > 2 && !TOperator.LastStateIsOutput ? T.Load(s3 + i) : T.Zero;
                op.Apply(ref weight, ref first, ref second, ref third, gradient);
                if (TOperator.ChangesWeights) T.Store(w + i, weight);
                if (TOperator.States > 0) T.Store(s1 + i, first);
                if (TOperator.States > 1) T.Store(s2 + i, second);
                if (TOperator.States > 2) T.Store(s3 + i, third);
            }
            if (i < end)
            {
                int rest = (int)(end - i);
                T gradient = Mean(TFormat.LoadPartial<T>(Gradients, i, rest), total, exact);
                if (scaled) gradient *= scale;
                T weight = T.LoadPartial(w + i, rest);
                T first = TOperator.States > 0 ? T.LoadPartial(s1 + i, rest) : T.Zero;
                T second = TOperator.States > 1 ? T.LoadPartial(s2 + i, rest) : T.Zero;
                T third = TOperator.States > 2 && !TOperator.LastStateIsOutput ? T.LoadPartial(s3 + i, rest) : T.Zero;
                op.Apply(ref weight, ref first, ref second, ref third, gradient);
                if (TOperator.ChangesWeights) T.StorePartial(w + i, weight, rest);
                if (TOperator.States > 0) T.StorePartial(s1 + i, first, rest);
                if (TOperator.States > 1) T.StorePartial(s2 + i, second, rest);
                if (TOperator.States > 2) T.StorePartial(s3 + i, third, rest);
            }
        }

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        private static T Mean<T>(T sum, T total, bool exact)
            where T : struct, ILanes<T> => exact ? sum * total : sum / total;

        // The processor's own prefetching stops at each page's end.
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        private static void Prefetch(in UpdateArrays arrays, void* gradients, nint at)
        {
            if (!Sse.IsSupported) return;
            Sse.Prefetch0((byte*)gradients + (at * TFormat.Size));
            Sse.Prefetch0(arrays.Weights + at);
            if (TOperator.States > 0) Sse.Prefetch0(arrays.First + at);
            if (TOperator.States > 1) Sse.Prefetch0(arrays.Second + at);
            if (TOperator.States > 2) Sse.Prefetch0(arrays.Third + at);
        }
    }
}
