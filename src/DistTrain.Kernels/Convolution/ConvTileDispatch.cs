namespace DistTrain.Kernels;

/// <summary>Picks the micro-kernel of a convolution's tile, and how rows are cut into groups.</summary>
internal static unsafe class ConvTileDispatch
{
    /// <summary>The columns of a strip of B.</summary>
    public const int Strip = 32;

    /// <summary>The groups that a tile of this width can have, their rows being any number.</summary>
    public static int Groups<T>()
        where T : struct, ILanes<T> => T.TileRows > 1 ? 2 : 1;

    /// <summary>
    /// How many rows a group has, when runs of <paramref name="run"/> rows are cut into groups of one size. The last
    /// group of a run begins earlier where the size doesn't divide it, and computes some rows once more.
    /// </summary>
    public static int GroupRows<T>(int run)
        where T : struct, ILanes<T>
    {
        int most = T.TileRows >= 12 ? ConvTileArguments.GroupRows : Math.Max(1, T.TileRows / 2);
        int best = 1;
        double least = double.MaxValue;
        for (int rows = 1; rows <= Math.Min(most, run); rows++)
        {
            // Half a row's time goes by with loads and branches.
            double time = ((run + rows - 1) / rows) * (rows + 0.5);
            if (time > least) continue;
            least = time;
            best = rows;
        }
        return best;
    }

    /// <summary>The kernel for tiles of <paramref name="groups"/> groups of <paramref name="rows"/>, by <paramref name="columns"/>.</summary>
    public static delegate*<ref ConvTileArguments, void> Select<T, TWalk>(int rows, int groups, int columns)
        where T : struct, ILanes<T>
        where TWalk : struct, IWalk
    {
        if (T.TileBlocks > 1)
        {
            // A weight gradient's B and its stored tiles are padded to whole blocks.
            if (columns == 32 || (TWalk.UnitRows && columns > 16)) return Rows512<TwoBlocks, TWalk>(rows, groups);
            if (columns > 16) return Rows512<TwoPartialBlocks, TWalk>(rows, groups);
            return columns == 16 || TWalk.UnitRows ? Rows512<OneBlock, TWalk>(rows, groups) : Rows512<OnePartialBlock, TWalk>(rows, groups);
        }
        return columns == 16 || TWalk.UnitRows ? Rows<T, OneBlock, TWalk>(rows, groups) : Rows<T, OnePartialBlock, TWalk>(rows, groups);
    }

    private static delegate*<ref ConvTileArguments, void> Rows512<TColumns, TWalk>(int rows, int groups)
        where TColumns : struct, ITileColumns
        where TWalk : struct, IWalk => groups switch
        {
            3 => rows switch
            {
                3 => &ConvTile512.Run<Rows3, Rows3, TColumns, TWalk>,
                2 => &ConvTile512.Run<Rows2, Rows3, TColumns, TWalk>,
                _ => &ConvTile512.Run<Rows1, Rows3, TColumns, TWalk>,
            },
            2 => Groups512<Rows2, TColumns, TWalk>(rows),
            _ => Groups512<Rows1, TColumns, TWalk>(rows),
        };

    private static delegate*<ref ConvTileArguments, void> Groups512<TGroups, TColumns, TWalk>(int rows)
        where TGroups : struct, ICount
        where TColumns : struct, ITileColumns
        where TWalk : struct, IWalk => rows switch
        {
            7 => &ConvTile512.Run<Rows7, TGroups, TColumns, TWalk>,
            6 => &ConvTile512.Run<Rows6, TGroups, TColumns, TWalk>,
            5 => &ConvTile512.Run<Rows5, TGroups, TColumns, TWalk>,
            4 => &ConvTile512.Run<Rows4, TGroups, TColumns, TWalk>,
            3 => &ConvTile512.Run<Rows3, TGroups, TColumns, TWalk>,
            2 => &ConvTile512.Run<Rows2, TGroups, TColumns, TWalk>,
            _ => &ConvTile512.Run<Rows1, TGroups, TColumns, TWalk>,
        };

    private static delegate*<ref ConvTileArguments, void> Rows<T, TColumns, TWalk>(int rows, int groups)
        where T : struct, ILanes<T>
        where TColumns : struct, ITileColumns
        where TWalk : struct, IWalk => groups > 1
            ? Groups<T, Rows2, TColumns, TWalk>(rows)
            : Groups<T, Rows1, TColumns, TWalk>(rows);

    private static delegate*<ref ConvTileArguments, void> Groups<T, TGroups, TColumns, TWalk>(int rows)
        where T : struct, ILanes<T>
        where TGroups : struct, ICount
        where TColumns : struct, ITileColumns
        where TWalk : struct, IWalk => rows switch
        {
            3 when T.TileRows >= 6 => &ConvTile.Run<T, Rows3, TGroups, TColumns, TWalk>,
            2 when T.TileRows >= 4 => &ConvTile.Run<T, Rows2, TGroups, TColumns, TWalk>,
            _ => &ConvTile.Run<T, Rows1, TGroups, TColumns, TWalk>,
        };
}
