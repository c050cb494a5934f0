namespace DistTrain.Kernels;

/// <summary>
/// How dWᵀ is cut into tiles: its columns into strips of output channels, its rows (ky, kx, channel) in one of two ways.
/// <list type="bullet">
/// <item>Joined: a run of rows that are neighbours in the padded image is cut into groups, two or three of which make a
/// tile. An item is a tile.</item>
/// <item>Blocked, where there are enough channels: the padded image is stored in blocks of 12 or 8 channels, each of
/// them (y, x, channel), so that a tile reads it front to back and all taps of a block read what the L1 cache holds.
/// An item is a block with all its taps.</item>
/// </list>
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
    private int _kernelWidth;
    private int _dilationX;
    private int _wideBlocks;
    private nint _runY;
    private nint _runX;
    private int _runsX;
    private nint _blockPixels;
    private nint _tapRow;

    /// <summary>Whether items are blocks of channels.</summary>
    public bool Blocked { get; private set; }

    /// <summary>Items of a strip, and tiles of an item.</summary>
    public int RowItems { get; private set; }

    /// <inheritdoc cref="RowItems"/>
    public int ItemTiles { get; private set; }

    /// <summary>Columns of a strip.</summary>
    public int Width { get; private set; }

    /// <summary>Whether strips of dY are packed, or read in place.</summary>
    public bool PackDY { get; private set; }

    /// <summary>Items of all strips.</summary>
    public nint Items { get; private set; }

    public static ConvWeightLayout Make<T>(in ConvWeightProblem p)
        where T : struct, ILanes<T>
    {
        ref readonly ConvolutionShape s = ref p.Shape;
        var l = default(ConvWeightLayout);
        l._taps = s.Taps;
        l._channels = s.GroupChannels;
        l._kernelWidth = s.KernelWidth;
        l._dilationX = s.DilationX;
        l.Blocked = T.TileBlocks > 1 && s.GroupChannels >= 8 && s.GroupChannels % 4 == 0;
        if (l.Blocked)
        {
            // 12·wide + 8·narrow channels, as many of them wide as can be.
            int narrow = s.GroupChannels / 4 * 2 % 3;
            l._wideBlocks = (s.GroupChannels - (8 * narrow)) / 12;
            l.RowItems = l._wideBlocks + narrow;
            l.ItemTiles = s.Taps;
            l._blockPixels = (nint)p.PaddedWidth * p.PaddedRows(p.BandRows);
            l._tapRow = (nint)s.DilationY * p.PaddedWidth;
        }
        else
        {
            l._runLength = p.RunLength;
            l._groupRows = ConvTileDispatch.GroupRows<T>(p.RunLength);
            l._groupsPerRun = (p.RunLength + l._groupRows - 1) / l._groupRows;
            l._groups = p.Runs * l._groupsPerRun;
            l._together = T.TileBlocks > 1 && l._groupRows <= 3 ? 3 : ConvTileDispatch.Groups<T>();
            l.RowItems = (l._groups + l._together - 1) / l._together;
            l.ItemTiles = 1;
            l._runsX = p.JoinsTaps ? 1 : s.KernelWidth;
            l._runY = (nint)s.DilationY * p.PaddedWidth * s.Channels;
            l._runX = (nint)s.DilationX * s.Channels;
        }
        l.Width = 16 * T.TileBlocks;
        l._groupOutputs = s.GroupOutputs;
        l._stripsPerGroup = (s.GroupOutputs + l.Width - 1) / l.Width;
        l.PackDY = l.RowItems * l.ItemTiles > FewTiles || s.GroupOutputs % l.Width != 0;
        l.Items = (nint)s.Groups * l._stripsPerGroup * l.RowItems;
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

    /// <summary>A block's first channel within its group.</summary>
    public readonly int BlockStart(int block) => block <= _wideBlocks ? 12 * block : (12 * _wideBlocks) + (8 * (block - _wideBlocks));

    /// <summary>A block's channels.</summary>
    public readonly int BlockWidth(int block) => block < _wideBlocks ? 12 : 8;

    /// <summary>Runs <paramref name="count"/> items of a strip from item <paramref name="item"/> on.</summary>
    /// <param name="t">What all tiles have in common; Segments are those of joined rows or of blocks of 12.</param>
    /// <param name="narrow">The segments of blocks of 8.</param>
    /// <param name="source">The padded input, from the group's first channel (joined) or block on.</param>
    /// <param name="item">The first item.</param>
    /// <param name="count">How many.</param>
    /// <param name="stack">The first item's stacks.</param>
    /// <param name="tileFloats">Floats from one tile's stack to the next.</param>
    /// <param name="ahead">What comes next.</param>
    public readonly void Run<T>(
        ref ConvTileArguments t, ConvSegment* narrow, float* source, int item, nint count, float* stack, nint tileFloats, ref Prefetcher ahead)
        where T : struct, ILanes<T>
    {
        if (Blocked) RunBlocks<T>(ref t, narrow, source, item, count, stack, tileFloats, ref ahead);
        else RunJoined<T>(ref t, source, item, count, stack, tileFloats, ref ahead);
    }

    /// <summary>Puts a finished item where the weights lie.</summary>
    public readonly void Scatter(in ConvWeightProblem p, nint item, float* stored, nint tileFloats)
    {
        Column(item / RowItems, out _, out int column, out int columns);
        float* to = p.DW + ((nint)column * _channels * _taps);
        if (Blocked) ScatterBlock((int)(item % RowItems), stored, tileFloats, to, columns);
        else ScatterJoined((int)(item % RowItems), stored, to, columns);
    }

    private readonly void RunBlocks<T>(
        ref ConvTileArguments t, ConvSegment* narrow, float* source, int block, nint count, float* stack, nint tileFloats, ref Prefetcher ahead)
        where T : struct, ILanes<T>
    {
        ConvSegment* wide = t.Segments;
        nint stride = t.Step;
        for (; count > 0; count--, block++)
        {
            int width = BlockWidth(block);
            var kernel = ConvTileDispatch.Select<T, PackedWalk>(width / 2, 2, t.Columns);
            t.Segments = width == 12 ? wide : narrow;
            t.Step = stride * width;
            float* from = source + (BlockStart(block) * _blockPixels);
            for (int tap = 0; tap < _taps; tap++, stack += tileFloats)
            {
                ahead.Tile();
                t.A0 = from + (((tap / _kernelWidth * _tapRow) + (tap % _kernelWidth * _dilationX)) * width);
                t.Stack = stack;
                kernel(ref t);
            }
        }
        t.Segments = wide;
        t.Step = stride;
    }

    private readonly void RunJoined<T>(ref ConvTileArguments t, float* source, int tile, nint count, float* stack, nint tileFloats, ref Prefetcher ahead)
        where T : struct, ILanes<T>
    {
        int groups = 0;
        delegate*<ref ConvTileArguments, void> kernel = null;
        for (; count > 0; count--, tile++, stack += tileFloats)
        {
            int first = tile * _together;
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
            kernel(ref t);
        }
    }

    // A column of dWᵀ is a run of memory for each output channel: channels, and in them taps.
    private readonly void ScatterBlock(int block, float* stored, nint tileFloats, float* dW, int columns)
    {
        int half = BlockWidth(block) / 2;
        nint start = BlockStart(block);
        for (int j = 0; j < columns; j++)
        {
            float* to = dW + ((((nint)j * _channels) + start) * _taps);
            for (int r = 0; r < 2 * half; r++)
            {
                float* from = stored + ConvTileArguments.Slot(r / half, r % half) + j;
                for (int tap = 0; tap < _taps; tap++, from += tileFloats) *to++ = *from;
            }
        }
    }

    private readonly void ScatterJoined(int tile, float* stored, float* dW, int columns)
    {
        int first = tile * _together;
        for (int g = 0; g < _together && first + g < _groups; g++)
        {
            int run = (first + g) / _groupsPerRun;
            int start = Start(first + g);
            // Rows that the group before has too are its business.
            for (int r = (((first + g) % _groupsPerRun) * _groupRows) - start; r < _groupRows; r++)
            {
                int row = (run * _runLength) + start + r;
                float* from = stored + ConvTileArguments.Slot(g, r);
                float* to = dW + ((((nint)row % _channels) * _taps) + (row / _channels));
                for (int j = 0; j < columns; j++, to += (nint)_channels * _taps) *to = from[j];
            }
        }
    }

    private readonly int Start(int group) => Math.Min(group % _groupsPerRun * _groupRows, _runLength - _groupRows);

    private readonly nint Offset(int group)
    {
        int run = group / _groupsPerRun;
        return ((run / _runsX) * _runY) + ((run % _runsX) * _runX) + Start(group);
    }
}
