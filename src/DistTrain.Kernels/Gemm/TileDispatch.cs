namespace DistTrain.Kernels;

/// <summary>Picks the micro-kernel for a tile's size. Rows are cut greedily into the heights that a width has kernels for.</summary>
internal static class TileDispatch
{
    /// <summary>The columns of a full tile.</summary>
    public static int Width<T>()
        where T : struct, ILanes<T> => 16 * T.TileBlocks;

    /// <summary>The height of the next tile when <paramref name="rows"/> rows are left.</summary>
    public static int Height<T>(nint rows)
        where T : struct, ILanes<T>
    {
        if (T.TileRows >= 12)
        {
            if (rows >= 12) return 12;
            if (rows >= 8) return 8;
        }
        else if (T.TileRows >= 6 && rows >= 6)
        {
            return 6;
        }
        if (T.TileRows >= 4 && rows >= 4) return 4;
        return T.TileRows >= 2 && rows >= 2 ? 2 : 1;
    }

    /// <summary>Runs a tile of <paramref name="rows"/> (a height of <see cref="Height"/>) by <paramref name="columns"/>.</summary>
    public static void Run<T>(ref TileArguments t, int rows, int columns, bool unitRows)
        where T : struct, ILanes<T>
    {
        t.Columns = columns;
        if (unitRows) Columns<T, UnitRows>(ref t, rows, columns);
        else Columns<T, StridedRows>(ref t, rows, columns);
    }

    private static void Columns<T, TWalk>(ref TileArguments t, int rows, int columns)
        where T : struct, ILanes<T>
        where TWalk : struct, IRowWalk
    {
        if (T.TileBlocks > 1 && columns == 32) Rows<T, TwoBlocks, TWalk>(ref t, rows);
        else if (T.TileBlocks > 1 && columns > 16) Rows<T, TwoPartialBlocks, TWalk>(ref t, rows);
        else if (columns == 16) Rows<T, OneBlock, TWalk>(ref t, rows);
        else Rows<T, OnePartialBlock, TWalk>(ref t, rows);
    }

    private static void Rows<T, TColumns, TWalk>(ref TileArguments t, int rows)
        where T : struct, ILanes<T>
        where TColumns : struct, ITileColumns
        where TWalk : struct, IRowWalk
    {
        switch (rows)
        {
            case 12 when T.TileRows >= 12: MicroTile.Run<T, Rows12, TColumns, TWalk>(ref t); break;
            case 8 when T.TileRows >= 8: MicroTile.Run<T, Rows8, TColumns, TWalk>(ref t); break;
            case 6 when T.TileRows >= 6: MicroTile.Run<T, Rows6, TColumns, TWalk>(ref t); break;
            case 4 when T.TileRows >= 4: MicroTile.Run<T, Rows4, TColumns, TWalk>(ref t); break;
            case 2 when T.TileRows >= 2: MicroTile.Run<T, Rows2, TColumns, TWalk>(ref t); break;
            default: MicroTile.Run<T, Rows1, TColumns, TWalk>(ref t); break;
        }
    }
}
