using System.Runtime.CompilerServices;

namespace DistTrain.Kernels;

/// <summary>
/// Norms over rows, forward: see <see cref="LayerNorm"/>. Four rows go at once: a row's sums are one chain a lane, and
/// four chains keep the arithmetic busy.
/// </summary>
internal unsafe struct RowNormForwardKernel<TStyle> : IRangeKernel
    where TStyle : struct, IRowNormStyle
{
    public float* X;
    public nint Features;
    public float* Scale;
    public float* Shift;
    public float Epsilon;
    public float* Y;
    public float* Means;
    public float* Reciprocals;

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public readonly void Run<T>(nint begin, nint end)
        where T : struct, ILanes<T>
    {
        nint row = begin;
        for (; Features % 16 == 0 && row <= end - 4; row += 4) Rows<T, Rows4>(row);
        for (; row < end; row++) Rows<T, Rows1>(row);
    }

    // Four rows at once only where there are no partial vectors: that much code the JIT would not inline.
    [MethodImpl(MethodImplOptions.NoInlining | MethodImplOptions.AggressiveOptimization)]
    private readonly void Rows<T, TRows>(nint row)
        where T : struct, ILanes<T>
        where TRows : struct, ICount
    {
        nint features = Features;
        nint whole = features & ~15;
        int rest = (int)(features - whole);
        float* x0 = X + (row * features);
        float* x1 = x0 + features;
        float* x2 = x1 + features;
        float* x3 = x2 + features;
        float unit = 1f / features;
        T m0 = T.Zero, m1 = T.Zero, m2 = T.Zero, m3 = T.Zero;
        if (TStyle.Centred)
        {
            for (nint i = 0; i < whole; i += 16)
            {
                m0 += T.Load(x0 + i);
                if (TRows.Count > 1) m1 += T.Load(x1 + i);
                if (TRows.Count > 2) m2 += T.Load(x2 + i);
                if (TRows.Count > 3) m3 += T.Load(x3 + i);
            }
            if (TRows.Count == 1 && rest > 0) m0 += T.LoadPartial(x0 + whole, rest);
            T u = T.Broadcast(unit);
            m0 = T.SumInAll(m0) * u;
            if (TRows.Count > 1) m1 = T.SumInAll(m1) * u;
            if (TRows.Count > 2) m2 = T.SumInAll(m2) * u;
            if (TRows.Count > 3) m3 = T.SumInAll(m3) * u;
            Means[row] = T.First(m0);
            if (TRows.Count > 1) Means[row + 1] = T.First(m1);
            if (TRows.Count > 2) Means[row + 2] = T.First(m2);
            if (TRows.Count > 3) Means[row + 3] = T.First(m3);
        }
        T v0 = T.Zero, v1 = T.Zero, v2 = T.Zero, v3 = T.Zero;
        for (nint i = 0; i < whole; i += 16)
        {
            Square(T.Load(x0 + i), m0, ref v0);
            if (TRows.Count > 1) Square(T.Load(x1 + i), m1, ref v1);
            if (TRows.Count > 2) Square(T.Load(x2 + i), m2, ref v2);
            if (TRows.Count > 3) Square(T.Load(x3 + i), m3, ref v3);
        }
        if (TRows.Count == 1 && rest > 0)
        {
            T mask = T.FirstLanes(rest);
            Square(T.LoadPartial(x0 + whole, rest), T.And(m0, mask), ref v0);
        }
        v0 = Reciprocal(v0, unit, row);
        if (TRows.Count > 1) v1 = Reciprocal(v1, unit, row + 1);
        if (TRows.Count > 2) v2 = Reciprocal(v2, unit, row + 2);
        if (TRows.Count > 3) v3 = Reciprocal(v3, unit, row + 3);
        float* y0 = Y + (row * features);
        float* y1 = y0 + features;
        float* y2 = y1 + features;
        float* y3 = y2 + features;
        for (nint i = 0; i < whole; i += 16)
        {
            T scale = T.Load(Scale + i);
            T shift = TStyle.Centred ? T.Load(Shift + i) : T.Zero;
            T.Store(y0 + i, Finish(T.Load(x0 + i), m0, v0, scale, shift));
            if (TRows.Count > 1) T.Store(y1 + i, Finish(T.Load(x1 + i), m1, v1, scale, shift));
            if (TRows.Count > 2) T.Store(y2 + i, Finish(T.Load(x2 + i), m2, v2, scale, shift));
            if (TRows.Count > 3) T.Store(y3 + i, Finish(T.Load(x3 + i), m3, v3, scale, shift));
        }
        if (TRows.Count == 1 && rest > 0)
        {
            T scale = T.LoadPartial(Scale + whole, rest);
            T shift = TStyle.Centred ? T.LoadPartial(Shift + whole, rest) : T.Zero;
            T.StorePartial(y0 + whole, Finish(T.LoadPartial(x0 + whole, rest), m0, v0, scale, shift), rest);
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Square<T>(T x, T mean, ref T sum)
        where T : struct, ILanes<T>
    {
        T d = TStyle.Centred ? x - mean : x;
        sum = T.Fma(d, d, sum);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private readonly T Reciprocal<T>(T sum, float unit, nint row)
        where T : struct, ILanes<T>
    {
        float variance = T.First(T.SumInAll(sum)) * unit;
        float r = 1f / MathF.Sqrt(variance + Epsilon);
        Reciprocals[row] = r;
        return T.Broadcast(r);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static T Finish<T>(T x, T mean, T r, T scale, T shift)
        where T : struct, ILanes<T> =>
        TStyle.Centred ? T.Fma((x - mean) * r, scale, shift) : x * r * scale;
}
