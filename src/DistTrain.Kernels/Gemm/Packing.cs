namespace DistTrain.Kernels;

/// <summary>
/// Copies blocks of A and B into panels that a register tile reads front to back: A as k-major strips of a tile's
/// height, B as k-major strips of a tile's width, its missing columns +0.
/// </summary>
internal static unsafe class Packing
{
    /// <summary>Packs <paramref name="rows"/> rows by <paramref name="depth"/> of A; the strip of row r begins at r·depth.</summary>
    public static void PackA<T>(float* a, nint row, nint step, nint rows, nint depth, float* panel)
        where T : struct, ILanes<T>
    {
        for (nint r = 0; r < rows;)
        {
            int height = TileDispatch.Height<T>(rows - r);
            float* source = a + (r * row);
            if (row == 1) CopyStrip(source, step, height, depth, panel);
            else GatherStrip(source, row, step, height, depth, panel);
            panel += height * depth;
            r += height;
        }
    }

    /// <summary>Packs <paramref name="depth"/> rows by <paramref name="columns"/> of B; the strip of column j begins at j·depth.</summary>
    public static void PackB<T>(float* b, nint column, nint step, nint depth, nint columns, float* panel)
        where T : struct, ILanes<T>
    {
        int width = TileDispatch.Width<T>();
        for (nint j = 0; j < columns; j += width)
        {
            int real = (int)Math.Min(width, columns - j);
            float* source = b + (j * column);
            if (column == 1) CopyColumns<T>(source, step, depth, real, width, panel);
            else GatherColumns(source, column, step, depth, real, width, panel);
            panel += width * depth;
        }
    }

    private static void CopyStrip(float* source, nint step, int height, nint depth, float* panel)
    {
        for (nint k = 0; k < depth; k++)
        {
            for (int r = 0; r < height; r++) panel[r] = source[r];
            panel += height;
            source += step;
        }
    }

    private static void GatherStrip(float* source, nint row, nint step, int height, nint depth, float* panel)
    {
        for (int r = 0; r < height; r++)
        {
            float* from = source + (r * row);
            float* to = panel + r;
            for (nint k = 0; k < depth; k++) to[k * height] = from[k * step];
        }
    }

    private static void CopyColumns<T>(float* source, nint step, nint depth, int real, int width, float* panel)
        where T : struct, ILanes<T>
    {
        for (nint k = 0; k < depth; k++)
        {
            for (int j = 0; j < width; j += 16)
            {
                T v = real >= j + 16 ? T.Load(source + j) : T.LoadPartial(source + j, Math.Max(real - j, 0));
                T.Store(panel + j, v);
            }
            panel += width;
            source += step;
        }
    }

    private static void GatherColumns(float* source, nint column, nint step, nint depth, int real, int width, float* panel)
    {
        for (int j = 0; j < width; j++)
        {
            float* from = source + (j * column);
            float* to = panel + j;
            if (j < real)
                for (nint k = 0; k < depth; k++) to[k * width] = from[k * step];
            else
                for (nint k = 0; k < depth; k++) to[k * width] = 0;
        }
    }
}
