using System.Runtime.Intrinsics.X86;

namespace DistTrain.Kernels;

/// <summary>
/// How dWᵀ is cut into tiles: its rows (ky, kx, channel) into runs of neighbours and these into groups, two or three
/// of which a tile has; its columns into strips of output channels.
/// </summary>
internal unsafe struct ConvWeightLayout
{
    /// <summary>With so many tiles in a strip or fewer, packing dY would cost more than it brings.</summary>
    public const int FewTiles = 2;

    private int _runLength;
    private int _groupRows;
    private int _groupsPerRun;
    private int _groups;
    private int _together;
    private int _groupOutputs;
    private int _stripsPerGroup;
    private int _taps;
    private int _channels;
    private nint _runY;
    private nint _runX;
    private int _runsX;

    /// <summary>Tiles of a strip.</summary>
    public int RowTiles { get; private set; }

    /// <summary>Columns of a strip.</summary>
    public int Width { get; private set; }

    /// <summary>Whether strips of dY are packed, or read in place.</summary>
    public bool PackDY { get; private set; }

    /// <summary>Tiles of all strips.</summary>
    public nint Tiles { get; private set; }

    public static ConvWeightLayout Make<T>(in ConvWeightProblem p)
        where T : struct, ILanes<T>
    {
        ref readonly ConvolutionShape s = ref p.Shape;
        var l = default(ConvWeightLayout);
        l._runLength = p.RunLength;
        l._groupRows = ConvTileDispatch.GroupRows<T>(p.RunLength);
        l._groupsPerRun = (p.RunLength + l._groupRows - 1) / l._groupRows;
        l._groups = p.Runs * l._groupsPerRun;
        l._together = T.TileBlocks > 1 && l._groupRows <= 3 ? 3 : ConvTileDispatch.Groups<T>();
        l.RowTiles = (l._groups + l._together - 1) / l._together;
        l.Width = 16 * T.TileBlocks;
        l._groupOutputs = s.GroupOutputs;
        l._stripsPerGroup = (s.GroupOutputs + l.Width - 1) / l.Width;
        l.PackDY = l.RowTiles > FewTiles || s.GroupOutputs % l.Width != 0;
        l.Tiles = (nint)s.Groups * l._stripsPerGroup * l.RowTiles;
        l._taps = s.Taps;
        l._channels = s.GroupChannels;
        l._runsX = p.JoinsTaps ? 1 : s.KernelWidth;
        l._runY = (nint)s.DilationY * p.PaddedWidth * s.Channels;
        l._runX = (nint)s.DilationX * s.Channels;
        return l;
    }

    /// <summary>The group of the convolution, the first output channel and the number of them that a strip has.</summary>
    public readonly void Column(nint strip, out int group, out int column, out int columns)
    {
        group = (int)(strip / _stripsPerGroup);
        int j = (int)(strip % _stripsPerGroup) * Width;
        column = (group * _groupOutputs) + j;
        columns = Math.Min(Width, _groupOutputs - j);
    }

    /// <summary>Runs <paramref name="count"/> tiles of a strip from tile <paramref name="tile"/> on.</summary>
    public readonly void RunTiles<T>(ref ConvTileArguments t, float* source, nint tile, nint count, float* stack, nint tileFloats, ref Prefetcher ahead)
        where T : struct, ILanes<T>
    {
        int groups = 0;
        delegate*<ref ConvTileArguments, void> kernel = null;
        for (; count > 0; count--, tile++, stack += tileFloats)
        {
            int first = (int)tile * _together;
            int next = Math.Min(_together, _groups - first);
            if (next != groups)
            {
                groups = next;
                kernel = ConvTileDispatch.Select<T, UnitRowWalk>(_groupRows, groups, t.Columns);
            }
            t.A0 = source + Offset(first);
            if (groups > 1) t.A1 = source + Offset(first + 1);
            if (groups > 2) t.A2 = source + Offset(first + 2);
            t.Stack = stack;
            ahead.Tile();
            if (count > 1) Prefetch(stack + tileFloats);
            kernel(ref t);
        }
    }

    /// <summary>Puts a finished tile where the weights lie.</summary>
    public readonly void Scatter(in ConvWeightProblem p, nint tile, float* stored)
    {
        Column(tile / RowTiles, out _, out int column, out int columns);
        int first = (int)(tile % RowTiles) * _together;
        for (int g = 0; g < _together && first + g < _groups; g++)
        {
            int run = (first + g) / _groupsPerRun;
            int start = Start(first + g);
            // Rows that the group before has too are its business.
            for (int r = (((first + g) % _groupsPerRun) * _groupRows) - start; r < _groupRows; r++)
            {
                int row = (run * _runLength) + start + r;
                float* from = stored + ConvTileArguments.Slot(g, r);
                float* to = p.DW + (((((nint)column * _channels) + (row % _channels)) * _taps) + (row / _channels));
                for (int j = 0; j < columns; j++, to += (nint)_channels * _taps) *to = from[j];
            }
        }
    }

    // The next tile's sums come from the L2 cache: while this tile is computed there is time for that.
    private static void Prefetch(float* tile)
    {
        if (!Sse.IsSupported) return;
        for (int i = 0; i < ConvTileArguments.TileSize; i += 16) Sse.Prefetch0(tile + i);
    }

    private readonly int Start(int group) => Math.Min(group % _groupsPerRun * _groupRows, _runLength - _groupRows);

    private readonly nint Offset(int group)
    {
        int run = group / _groupsPerRun;
        return ((run / _runsX) * _runY) + ((run % _runsX) * _runX) + Start(group);
    }
}
