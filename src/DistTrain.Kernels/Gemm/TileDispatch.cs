namespace DistTrain.Kernels;

/// <summary>How a tile reaches its operands; see <see cref="IWalk"/>.</summary>
internal enum TileWalk
{
    Packed,
    UnitRows,
    StridedRows,
    Stream,
}

/// <summary>Picks the micro-kernel for a tile's size. Rows are cut into the heights that a width has kernels for.</summary>
internal static unsafe class TileDispatch
{
    /// <summary>The columns of a full tile.</summary>
    public static int Width<T>()
        where T : struct, ILanes<T> => 16 * T.TileBlocks;

    /// <summary>The columns of a strip of B that holds <paramref name="columns"/> real ones: one block or two.</summary>
    public static int StripWidth<T>(int columns)
        where T : struct, ILanes<T> => T.TileBlocks > 1 && columns > 16 ? 32 : 16;

    /// <summary>The height of the next tile when <paramref name="rows"/> rows are left.</summary>
    public static int Height<T>(nint rows)
        where T : struct, ILanes<T>
    {
        if (T.TileRows >= 12)
        {
            // Low tiles leave the multipliers waiting for one another: 16 rows go as two of 8, 14 as 8 and 6.
            if (rows >= 12) return rows is 16 or 14 ? 8 : 12;
            if (rows >= 10) return 10;
            if (rows >= 8) return 8;
        }
        if (T.TileRows >= 6 && rows >= 6) return 6;
        if (T.TileRows >= 4 && rows >= 4) return 4;
        return T.TileRows >= 2 && rows >= 2 ? 2 : 1;
    }

    /// <summary>The kernel for tiles of <paramref name="rows"/> (a <see cref="Height"/>) by <paramref name="columns"/>.</summary>
    public static delegate*<ref TileArguments, void> Select<T>(int rows, int columns, TileWalk walk)
        where T : struct, ILanes<T> => walk switch
        {
            TileWalk.Packed => Columns<T, PackedWalk>(rows, columns),
            TileWalk.UnitRows => Columns<T, UnitRowWalk>(rows, columns),
            TileWalk.Stream => Columns<T, StreamWalk>(rows, columns),
            _ => Columns<T, StridedRowWalk>(rows, columns),
        };

    private static delegate*<ref TileArguments, void> Columns<T, TWalk>(int rows, int columns)
        where T : struct, ILanes<T>
        where TWalk : struct, IWalk
    {
        if (T.TileBlocks > 1)
        {
            if (columns == 32) return Rows512<TwoBlocks, TWalk>(rows);
            if (columns > 16) return Rows512<TwoPartialBlocks, TWalk>(rows);
            return columns == 16 ? Rows512<OneBlock, TWalk>(rows) : Rows512<OnePartialBlock, TWalk>(rows);
        }
        if (typeof(T) == typeof(Lanes256)) return columns == 16 ? Rows256<OneBlock, TWalk>(rows) : Rows256<OnePartialBlock, TWalk>(rows);
        return columns == 16 ? Rows<T, OneBlock, TWalk>(rows) : Rows<T, OnePartialBlock, TWalk>(rows);
    }

    private static delegate*<ref TileArguments, void> Rows256<TColumns, TWalk>(int rows)
        where TColumns : struct, ITileColumns
        where TWalk : struct, IWalk => rows switch
        {
            6 => &MicroTile256.Run<Rows6, TColumns, TWalk>,
            4 => &MicroTile256.Run<Rows4, TColumns, TWalk>,
            2 => &MicroTile256.Run<Rows2, TColumns, TWalk>,
            _ => &MicroTile256.Run<Rows1, TColumns, TWalk>,
        };

    private static delegate*<ref TileArguments, void> Rows512<TColumns, TWalk>(int rows)
        where TColumns : struct, ITileColumns
        where TWalk : struct, IWalk => rows switch
        {
            12 => &MicroTile512.Run<Rows12, TColumns, TWalk>,
            10 => &MicroTile512.Run<Rows10, TColumns, TWalk>,
            8 => &MicroTile512.Run<Rows8, TColumns, TWalk>,
            6 => &MicroTile512.Run<Rows6, TColumns, TWalk>,
            4 => &MicroTile512.Run<Rows4, TColumns, TWalk>,
            2 => &MicroTile512.Run<Rows2, TColumns, TWalk>,
            _ => &MicroTile512.Run<Rows1, TColumns, TWalk>,
        };

    private static delegate*<ref TileArguments, void> Rows<T, TColumns, TWalk>(int rows)
        where T : struct, ILanes<T>
        where TColumns : struct, ITileColumns
        where TWalk : struct, IWalk => rows switch
        {
            6 when T.TileRows >= 6 => &MicroTile.Run<T, Rows6, TColumns, TWalk>,
            4 when T.TileRows >= 4 => &MicroTile.Run<T, Rows4, TColumns, TWalk>,
            2 when T.TileRows >= 2 => &MicroTile.Run<T, Rows2, TColumns, TWalk>,
            _ => &MicroTile.Run<T, Rows1, TColumns, TWalk>,
        };
}
