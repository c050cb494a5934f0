using System.Runtime.CompilerServices;

namespace DistTrain.Kernels;

/// <summary>The steps that attention's two passes share, all of them in memory of a few KiB.</summary>
internal static unsafe class AttentionTiles
{
    /// <summary>C = A·B, or C += A·B, by the GEMM's register tiles, on operands where they are; one of A's strides is 1. Each tile steps on with <paramref name="prefetch"/>.</summary>
    [SkipLocalsInit]
    [MethodImpl(MethodImplOptions.NoInlining | MethodImplOptions.AggressiveOptimization)]
    public static void Multiply<T>(
        nint rows, nint columns, nint depth, float* a, nint rowA, nint stepA, float* b, nint stepB, bool add, float* c, nint strideC,
        ref HeadPrefetch prefetch)
        where T : struct, ILanes<T>
    {
        int width = TileDispatch.Width<T>();
        TileWalk walk = rowA == 1 ? TileWalk.UnitRows : TileWalk.StridedRows;
        Unsafe.SkipInit(out TileArguments t);
        t.Depths = &depth;
        t.Leaves = 1;
        t.Stack = null;
        t.RowStrideA = rowA;
        t.StepA = stepA;
        t.StepB = stepB;
        t.FromStride = strideC;
        t.ToStride = strideC;
        for (nint j = 0; j < columns; j += width)
        {
            t.Columns = (int)Math.Min(width, columns - j);
            t.A = a;
            t.B = b + j;
            t.To = c + j;
            int height = 0;
            delegate*<ref TileArguments, void> kernel = null;
            for (nint left = rows; left > 0; left -= height)
            {
                int next = TileDispatch.Height<T>(left);
                if (next != height) kernel = TileDispatch.Select<T>(next, t.Columns, walk);
                height = next;
                t.From = add ? t.To : null;
                prefetch.Step();
                kernel(ref t);
                t.A += height * rowA;
                t.To += height * strideC;
            }
        }
    }

    /// <summary>How many tiles such a product has.</summary>
    public static nint Tiles<T>(nint rows, nint columns)
        where T : struct, ILanes<T> =>
        (rows + T.TileRows - 1) / T.TileRows * ((columns + TileDispatch.Width<T>() - 1) / TileDispatch.Width<T>());

    /// <summary>panel(i, r) = source(r, i) for <paramref name="rows"/> rows of <paramref name="width"/>; the panel's rows have <paramref name="lanes"/> floats, a multiple of 16, padded with +0.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Transpose<T>(float* source, nint stride, nint rows, nint width, float* panel, nint lanes)
        where T : struct, ILanes<T>
    {
        for (nint r = 0; r < lanes; r += 16)
        {
            float* from = source + (r * stride);
            float* to = panel + r;
            nint i = 0;
            nint present = Math.Clamp(rows - r, 0, 16);
            if (present == 16)
            {
                for (; i <= width - 4; i += 4)
                {
                    T.LoadColumns(from + i, stride, 16, out T c0, out T c1, out T c2, out T c3);
                    T.Store(to + (i * lanes), c0);
                    T.Store(to + ((i + 1) * lanes), c1);
                    T.Store(to + ((i + 2) * lanes), c2);
                    T.Store(to + ((i + 3) * lanes), c3);
                }
            }
            for (; i < width; i++)
            {
                for (nint l = 0; l < present; l++) to[(i * lanes) + l] = from[(l * stride) + i];
                for (nint l = present; l < 16; l++) to[(i * lanes) + l] = 0;
            }
        }
    }

    /// <summary>The floats from one row to the next of a copy: whole vectors, and not so that many rows share a cache set.</summary>
    public static nint Stride(nint width)
    {
        nint stride = (width + 15) & ~15;
        return stride % 512 == 0 ? stride + 16 : stride;
    }

    /// <summary>Copies rows to where they lie close together, padded with +0 to whole vectors.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Gather<T>(float* source, nint stride, nint rows, nint width, float* target, nint targetStride)
        where T : struct, ILanes<T>
    {
        for (nint r = 0; r < rows; r++, source += stride, target += targetStride)
        {
            nint e = 0;
            for (; e <= width - 16; e += 16) T.Store(target + e, T.Load(source + e));
            if (e < width) T.Store(target + e, T.LoadPartial(source + e, (int)(width - e)));
        }
    }

    /// <summary>The way back: each row of the target is that of the source.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Scatter<T>(float* source, nint sourceStride, nint rows, nint width, float* target, nint stride)
        where T : struct, ILanes<T>
    {
        for (nint r = 0; r < rows; r++, source += sourceStride, target += stride)
        {
            nint e = 0;
            for (; e <= width - 16; e += 16) T.Store(target + e, T.Load(source + e));
            if (e < width) T.StorePartial(target + e, T.Load(source + e), (int)(width - e));
        }
    }

    /// <summary>Sets <paramref name="length"/> floats, a multiple of 16, to +0.</summary>
    public static void Clear<T>(float* x, nint length)
        where T : struct, ILanes<T>
    {
        for (nint i = 0; i < length; i += 16) T.Store(x + i, T.Zero);
    }
}
