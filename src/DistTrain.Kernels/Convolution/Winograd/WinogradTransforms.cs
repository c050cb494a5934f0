using System.Runtime.CompilerServices;

namespace DistTrain.Kernels;

/// <summary>The transforms of <see cref="Winograd"/>, 16 channels at a time. Places lie <c>place</c> floats apart.</summary>
internal static unsafe class WinogradTransforms
{
    /// <summary>Four by four pixels of the source.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Input<T>(float* from, nint row, nint pixel, float* to, nint place)
        where T : struct, ILanes<T>
    {
        Column<T>(from, row, out T a0, out T a1, out T a2, out T a3);
        Column<T>(from + pixel, row, out T b0, out T b1, out T b2, out T b3);
        Column<T>(from + (2 * pixel), row, out T c0, out T c1, out T c2, out T c3);
        Column<T>(from + (3 * pixel), row, out T d0, out T d1, out T d2, out T d3);
        Row(a0, b0, c0, d0, to, place);
        Row(a1, b1, c1, d1, to + (4 * place), place);
        Row(a2, b2, c2, d2, to + (8 * place), place);
        Row(a3, b3, c3, d3, to + (12 * place), place);
    }

    /// <summary>The gradient at two by two outputs, (y, x) in the names.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Gradient<T>(T y00, T y01, T y10, T y11, float* to, nint place)
        where T : struct, ILanes<T>
    {
        Spread(y00, y01, to, place);
        Spread(y00 + y10, y01 + y11, to + (4 * place), place);
        Spread(y00 - y10, y01 - y11, to + (8 * place), place);
        Spread(y10, y11, to + (12 * place), place);
    }

    /// <summary>Two by two outputs from the 16 products.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Output<T>(float* m, nint place, out T y00, out T y01, out T y10, out T y11)
        where T : struct, ILanes<T>
    {
        Join(m, place, out T a0, out T a1);
        Join(m + place, place, out T b0, out T b1);
        Join(m + (2 * place), place, out T c0, out T c1);
        Join(m + (3 * place), place, out T d0, out T d1);
        y00 = (a0 + b0) + c0;
        y01 = (b0 - c0) + d0;
        y10 = (a1 + b1) + c1;
        y11 = (b1 - c1) + d1;
    }

    /// <summary>The gradient of nine weights, <paramref name="tap"/> floats apart, from the 16 sums.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Weights<T>(float* n, nint place, float* to, nint tap)
        where T : struct, ILanes<T>
    {
        for (int x = 0; x < 4; x++, n += place)
        {
            T n0 = T.Load(n), n1 = T.Load(n + (4 * place)), n2 = T.Load(n + (8 * place)), n3 = T.Load(n + (12 * place));
            Three(n0, n1, n2, n3, out T w0, out T w1, out T w2);
            // The sums are read once: what has gone along y waits where they were.
            T.Store(n, w0);
            T.Store(n + (4 * place), w1);
            T.Store(n + (8 * place), w2);
        }
        n -= 4 * place;
        for (int y = 0; y < 3; y++, n += 4 * place, to += 3 * tap)
        {
            Three(T.Load(n), T.Load(n + place), T.Load(n + (2 * place)), T.Load(n + (3 * place)), out T w0, out T w1, out T w2);
            T.Store(to, w0);
            T.Store(to + tap, w1);
            T.Store(to + (2 * tap), w2);
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Three<T>(T n0, T n1, T n2, T n3, out T w0, out T w1, out T w2)
        where T : struct, ILanes<T>
    {
        T half = T.Broadcast(0.5f);
        T h = (n1 + n2) * half;
        w0 = n0 + h;
        w1 = (n1 - n2) * half;
        w2 = h + n3;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Column<T>(float* d, nint row, out T t0, out T t1, out T t2, out T t3)
        where T : struct, ILanes<T>
    {
        T d0 = T.Load(d), d1 = T.Load(d + row), d2 = T.Load(d + (2 * row)), d3 = T.Load(d + (3 * row));
        t0 = d0 - d2;
        t1 = d1 + d2;
        t2 = d2 - d1;
        t3 = d3 - d1;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Row<T>(T d0, T d1, T d2, T d3, float* to, nint place)
        where T : struct, ILanes<T>
    {
        T.Store(to, d0 - d2);
        T.Store(to + place, d1 + d2);
        T.Store(to + (2 * place), d2 - d1);
        T.Store(to + (3 * place), d3 - d1);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Spread<T>(T y0, T y1, float* to, nint place)
        where T : struct, ILanes<T>
    {
        T.Store(to, y0);
        T.Store(to + place, y0 + y1);
        T.Store(to + (2 * place), y0 - y1);
        T.Store(to + (3 * place), y1);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Join<T>(float* m, nint place, out T y0, out T y1)
        where T : struct, ILanes<T>
    {
        T m1 = T.Load(m + (4 * place)), m2 = T.Load(m + (8 * place));
        y0 = (T.Load(m) + m1) + m2;
        y1 = (m1 - m2) + T.Load(m + (12 * place));
    }
}
