using System.Runtime.CompilerServices;

namespace DistTrain.Kernels;

/// <summary>What happens to the values of a column on the way down; up to two sums come out.</summary>
internal interface IColumnSum
{
    /// <summary>Whether there are a second operand and a second sum.</summary>
    static abstract bool Pair { get; }

    static abstract void Add<T>(T x, T y, T mean, T r, ref T first, ref T second)
        where T : struct, ILanes<T>;
}

/// <summary>first + x.</summary>
internal readonly struct PlainSum : IColumnSum
{
    public static bool Pair => false;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Add<T>(T x, T y, T mean, T r, ref T first, ref T second)
        where T : struct, ILanes<T> => first += x;
}

/// <summary>fma(d, d, first) with d = x - mean.</summary>
internal readonly struct SquareSum : IColumnSum
{
    public static bool Pair => false;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Add<T>(T x, T y, T mean, T r, ref T first, ref T second)
        where T : struct, ILanes<T>
    {
        T d = x - mean;
        first = T.Fma(d, d, first);
    }
}

/// <summary>Of a gradient x at an input y: first + x, and fma(x, (y - mean)·r, second).</summary>
internal readonly struct GradientSums : IColumnSum
{
    public static bool Pair => true;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Add<T>(T x, T y, T mean, T r, ref T first, ref T second)
        where T : struct, ILanes<T>
    {
        first += x;
        second = T.Fma(x, (y - mean) * r, second);
    }
}

/// <summary>
/// Passes over a (rows, columns) array whose columns are channels: sums down the columns, rows ascending, and maps with
/// coefficients for each column. Four vectors of columns go at once where there are as many.
/// </summary>
internal static unsafe class ColumnPass
{
    // Rows after which the next columns' turn comes, so that what a row's neighbours brought into the caches is still there.
    private const int BlockRows = 64;

    /// <summary>first_c and second_c, which go on from what they are, over <paramref name="rows"/> rows.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Sum<T, TSum>(
        float* x, float* y, nint stride, nint rows, nint columns, float* means, float* reciprocals, float* first, float* second)
        where T : struct, ILanes<T>
        where TSum : struct, IColumnSum
    {
        for (nint row = 0; row < rows; row += BlockRows)
        {
            nint count = Math.Min(BlockRows, rows - row);
            nint c = 0;
            for (; c <= columns - 64; c += 64)
                Sum4<T, TSum>(x + c, TSum.Pair ? y + c : null, stride, count, means + c, reciprocals + c, first + c, second + c);
            for (; c < columns; c += 16)
            {
                Sum1<T, TSum>(
                    x + c, TSum.Pair ? y + c : null, stride, count, (int)Math.Min(16, columns - c), means + c, reciprocals + c, first + c, second + c);
            }
            x += count * stride;
            y += count * stride;
        }
    }

    /// <summary>y = fma((x - mean)·r, scale, shift).</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Normalise<T>(
        float* x, float* y, nint stride, nint rows, nint columns, float* means, float* reciprocals, float* scale, float* shift)
        where T : struct, ILanes<T>
    {
        for (nint row = 0; row < rows; row += BlockRows)
        {
            nint count = Math.Min(BlockRows, rows - row);
            for (nint c = 0; c < columns; c += 16)
            {
                int lanes = (int)Math.Min(16, columns - c);
                T mean = T.LoadPartial(means + c, lanes), r = T.LoadPartial(reciprocals + c, lanes);
                T a = T.LoadPartial(scale + c, lanes), b = T.LoadPartial(shift + c, lanes);
                float* from = x + c, to = y + c;
                if (lanes == 16)
                    for (nint i = 0; i < count; i++, from += stride, to += stride) T.Store(to, T.Fma((T.Load(from) - mean) * r, a, b));
                else
                    for (nint i = 0; i < count; i++, from += stride, to += stride) T.StorePartial(to, T.Fma((T.LoadPartial(from, lanes) - mean) * r, a, b), lanes);
            }
            x += count * stride;
            y += count * stride;
        }
    }

    /// <summary>dx = fma(-n, b, dy·scale - a)·r with n = (x - mean)·r.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Gradient<T>(
        float* dy, float* x, float* dx, nint stride, nint rows, nint columns, float* means, float* reciprocals, float* scale, float* a, float* b)
        where T : struct, ILanes<T>
    {
        for (nint row = 0; row < rows; row += BlockRows)
        {
            nint count = Math.Min(BlockRows, rows - row);
            for (nint c = 0; c < columns; c += 16)
            {
                int lanes = (int)Math.Min(16, columns - c);
                T mean = T.LoadPartial(means + c, lanes), r = T.LoadPartial(reciprocals + c, lanes), s = T.LoadPartial(scale + c, lanes);
                T va = T.LoadPartial(a + c, lanes), vb = T.LoadPartial(b + c, lanes);
                float* g = dy + c, from = x + c, to = dx + c;
                if (lanes == 16)
                {
                    for (nint i = 0; i < count; i++, g += stride, from += stride, to += stride)
                        T.Store(to, One(T.Load(g), T.Load(from), mean, r, s, va, vb));
                }
                else
                {
                    for (nint i = 0; i < count; i++, g += stride, from += stride, to += stride)
                        T.StorePartial(to, One(T.LoadPartial(g, lanes), T.LoadPartial(from, lanes), mean, r, s, va, vb), lanes);
                }
            }
            dy += count * stride;
            x += count * stride;
            dx += count * stride;
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static T One<T>(T g, T x, T mean, T r, T scale, T a, T b)
        where T : struct, ILanes<T> => T.Fma(T.Zero - ((x - mean) * r), b, (g * scale) - a) * r;

    [MethodImpl(MethodImplOptions.NoInlining | MethodImplOptions.AggressiveOptimization)]
    private static void Sum4<T, TSum>(float* x, float* y, nint stride, nint rows, float* means, float* reciprocals, float* first, float* second)
        where T : struct, ILanes<T>
        where TSum : struct, IColumnSum
    {
        bool plain = typeof(TSum) == typeof(PlainSum);
        T m0 = plain ? T.Zero : T.Load(means), m1 = plain ? T.Zero : T.Load(means + 16);
        T m2 = plain ? T.Zero : T.Load(means + 32), m3 = plain ? T.Zero : T.Load(means + 48);
        T r0 = TSum.Pair ? T.Load(reciprocals) : T.Zero, r1 = TSum.Pair ? T.Load(reciprocals + 16) : T.Zero;
        T r2 = TSum.Pair ? T.Load(reciprocals + 32) : T.Zero, r3 = TSum.Pair ? T.Load(reciprocals + 48) : T.Zero;
        T a0 = T.Load(first), a1 = T.Load(first + 16), a2 = T.Load(first + 32), a3 = T.Load(first + 48);
        T b0 = TSum.Pair ? T.Load(second) : T.Zero, b1 = TSum.Pair ? T.Load(second + 16) : T.Zero;
        T b2 = TSum.Pair ? T.Load(second + 32) : T.Zero, b3 = TSum.Pair ? T.Load(second + 48) : T.Zero;
        for (nint i = 0; i < rows; i++, x += stride, y += stride)
        {
            TSum.Add(T.Load(x), TSum.Pair ? T.Load(y) : T.Zero, m0, r0, ref a0, ref b0);
            TSum.Add(T.Load(x + 16), TSum.Pair ? T.Load(y + 16) : T.Zero, m1, r1, ref a1, ref b1);
            TSum.Add(T.Load(x + 32), TSum.Pair ? T.Load(y + 32) : T.Zero, m2, r2, ref a2, ref b2);
            TSum.Add(T.Load(x + 48), TSum.Pair ? T.Load(y + 48) : T.Zero, m3, r3, ref a3, ref b3);
        }
        T.Store(first, a0);
        T.Store(first + 16, a1);
        T.Store(first + 32, a2);
        T.Store(first + 48, a3);
        if (!TSum.Pair) return;
        T.Store(second, b0);
        T.Store(second + 16, b1);
        T.Store(second + 32, b2);
        T.Store(second + 48, b3);
    }

    [MethodImpl(MethodImplOptions.NoInlining | MethodImplOptions.AggressiveOptimization)]
    private static void Sum1<T, TSum>(
        float* x, float* y, nint stride, nint rows, int lanes, float* means, float* reciprocals, float* first, float* second)
        where T : struct, ILanes<T>
        where TSum : struct, IColumnSum
    {
        T mean = typeof(TSum) == typeof(PlainSum) ? T.Zero : T.LoadPartial(means, lanes);
        T r = TSum.Pair ? T.LoadPartial(reciprocals, lanes) : T.Zero;
        T a = T.LoadPartial(first, lanes), b = TSum.Pair ? T.LoadPartial(second, lanes) : T.Zero;
        if (lanes == 16)
        {
            for (nint i = 0; i < rows; i++, x += stride, y += stride)
                TSum.Add(T.Load(x), TSum.Pair ? T.Load(y) : T.Zero, mean, r, ref a, ref b);
        }
        else
        {
            for (nint i = 0; i < rows; i++, x += stride, y += stride)
                TSum.Add(T.LoadPartial(x, lanes), TSum.Pair ? T.LoadPartial(y, lanes) : T.Zero, mean, r, ref a, ref b);
        }
        T.StorePartial(first, a, lanes);
        if (TSum.Pair) T.StorePartial(second, b, lanes);
    }
}
