using System.Runtime.CompilerServices;

namespace DistTrain.Kernels;

/// <summary>
/// Copies blocks of A and B into panels that a register tile reads front to back: A as k-major strips of a tile's
/// height, B as k-major strips of a tile's width, its missing columns +0. Whatever lies across k in memory is
/// transposed 16 by 4.
/// </summary>
/// <remarks>
/// Strips are written front to back with whole vectors; what spills over a row's end is overwritten by what follows.
/// A panel therefore needs <see cref="Slack"/> floats behind it.
/// </remarks>
internal static unsafe class Packing
{
    /// <summary>Floats behind a panel that packing may write.</summary>
    public const int Slack = 16;

    /// <summary>Packs <paramref name="rows"/> rows by <paramref name="depth"/> of A; the strip of row r begins at r·depth.</summary>
    /// <param name="a">A(r, k) is at a[r·row + k·step]; one of the two strides is 1.</param>
    /// <param name="row">The stride of rows.</param>
    /// <param name="step">The stride of k.</param>
    /// <param name="rows">How many rows.</param>
    /// <param name="depth">How many k.</param>
    /// <param name="panel">Receives rows·depth floats.</param>
    public static void PackA<T>(float* a, nint row, nint step, nint rows, nint depth, float* panel)
        where T : struct, ILanes<T>
    {
        for (nint r = 0; r < rows;)
        {
            int height = TileDispatch.Height<T>(rows - r);
            float* source = a + (r * row);
            if (row == 1) CopyStrip<T>(source, step, height, depth, panel);
            else TransposeStrip<T>(source, row, height, height, depth, panel);
            panel += height * depth;
            r += height;
        }
    }

    /// <summary>Packs <paramref name="depth"/> rows by <paramref name="columns"/> of B; the strip of column j begins at j·depth.</summary>
    /// <param name="b">B(k, j) is at b[k·step + j·column]; one of the two strides is 1.</param>
    /// <param name="column">The stride of columns.</param>
    /// <param name="step">The stride of k.</param>
    /// <param name="depth">How many k.</param>
    /// <param name="columns">How many columns.</param>
    /// <param name="panel">Receives depth floats for each column, their number rounded up to whole tiles.</param>
    public static void PackB<T>(float* b, nint column, nint step, nint depth, nint columns, float* panel)
        where T : struct, ILanes<T>
    {
        int width = TileDispatch.Width<T>();
        for (nint j = 0; j < columns; j += width)
        {
            int real = (int)Math.Min(width, columns - j);
            int strip = TileDispatch.StripWidth<T>(real);
            float* source = b + (j * column);
            if (column == 1)
            {
                CopyColumns<T>(source, step, depth, real, strip, panel);
            }
            else
            {
                for (int block = 0; block < strip; block += 16)
                {
                    int present = Math.Clamp(real - block, 0, 16);
                    float* from = source + (block * column);
                    TransposeStrip<T>(from, column, present, strip, depth, panel + block);
                    if (present < 16) Pad(present, strip, depth, panel + block);
                }
            }
            panel += strip * depth;
        }
    }

    /// <summary>Copies <paramref name="height"/> neighbouring floats of each k.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void CopyStrip<T>(float* source, nint step, int height, nint depth, float* panel)
        where T : struct, ILanes<T>
    {
        for (nint k = 0; k < depth; k++)
        {
            T.Store(panel, T.LoadPartial(source, height));
            panel += height;
            source += step;
        }
    }

    /// <summary>Transposes <paramref name="rows"/> rows (at most 16) of <paramref name="depth"/>: fours by vectors, the rest one by one.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void TransposeStrip<T>(float* source, nint stride, int rows, int height, nint depth, float* panel)
        where T : struct, ILanes<T>
    {
        int fours = rows & ~3;
        nint k = 0;
        float* from = source;
        float* to = panel;
        if (fours == 16)
            for (; k <= depth - 4; k += 4, from += 4, to += 4 * height) Transpose<T>(from, stride, 16, height, to);
        else if (fours == 12)
            for (; k <= depth - 4; k += 4, from += 4, to += 4 * height) Transpose<T>(from, stride, 12, height, to);
        else if (fours == 8)
            for (; k <= depth - 4; k += 4, from += 4, to += 4 * height) Transpose<T>(from, stride, 8, height, to);
        else if (fours == 4)
            for (; k <= depth - 4; k += 4, from += 4, to += 4 * height) Transpose<T>(from, stride, 4, height, to);
        Gather(from, stride, 0, fours, height, depth - k, to);
        // Whole vectors were stored: what they spilled over a row's end is put right here.
        Gather(source, stride, fours, rows, height, depth, panel);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Transpose<T>(float* source, nint stride, int rows, int height, float* panel)
        where T : struct, ILanes<T>
    {
        T.LoadColumns(source, stride, rows, out T c0, out T c1, out T c2, out T c3);
        T.Store(panel, c0);
        T.Store(panel + height, c1);
        T.Store(panel + (2 * height), c2);
        T.Store(panel + (3 * height), c3);
    }

    private static void Gather(float* source, nint stride, int begin, int end, int height, nint depth, float* panel)
    {
        if (begin == end) return;
        for (nint k = 0; k < depth; k++, panel += height)
            for (int r = begin; r < end; r++) panel[r] = source[(r * stride) + k];
    }

    private static void Pad(int real, int height, nint depth, float* panel)
    {
        for (nint k = 0; k < depth; k++, panel += height)
            for (int r = real; r < 16; r++) panel[r] = 0;
    }

    /// <summary>Copies <paramref name="real"/> neighbouring floats of each k and pads them to <paramref name="width"/>.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void CopyColumns<T>(float* source, nint step, nint depth, int real, int width, float* panel)
        where T : struct, ILanes<T>
    {
        if (real == 32 && width == 32)
        {
            for (nint k = 0; k < depth; k++, panel += 32, source += step)
            {
                T.Store(panel, T.Load(source));
                T.Store(panel + 16, T.Load(source + 16));
            }
            return;
        }
        for (nint k = 0; k < depth; k++, panel += width, source += step)
            for (int j = 0; j < width; j += 16) T.Store(panel + j, T.LoadPartial(source + j, Math.Clamp(real - j, 0, 16)));
    }
}
