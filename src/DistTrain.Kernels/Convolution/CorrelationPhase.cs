using System.Runtime.CompilerServices;

namespace DistTrain.Kernels;

/// <summary>Where a group of neighbouring target pixels reads and writes, in floats from a unit's beginning.</summary>
internal readonly struct CorrelationGroup(nint source, nint target)
{
    public nint Source { get; } = source;

    public nint Target { get; } = target;
}

/// <summary>The target pixels that see the same taps, cut into groups that register tiles take.</summary>
internal unsafe struct CorrelationPhase
{
    private ConvSegment* _segments;
    private int _segmentCount;
    private nint _length;
    private CorrelationGroup* _groups;
    private int _perRow;
    private int _groupRows;
    private int _targets;
    private int _targetRows;
    private int _targetChannels;
    private int _spread;

    /// <summary>How many groups a row of <paramref name="targets"/> pixels has.</summary>
    public static int GroupsOf<T>(int targets)
        where T : struct, ILanes<T>
    {
        int rows = ConvTileDispatch.GroupRows<T>(targets);
        return (targets + rows - 1) / rows;
    }

    /// <summary>Lists a phase's taps and groups.</summary>
    /// <param name="p">The pass.</param>
    /// <param name="fy">The vertical phase.</param>
    /// <param name="fx">The horizontal phase.</param>
    /// <param name="pitch">Floats of a row of the padded source.</param>
    /// <param name="imageSize">Floats of one of its images.</param>
    /// <param name="segments">Room for all taps.</param>
    /// <param name="groups">Room for the groups of a whole unit.</param>
    public static CorrelationPhase Make<T>(
        in CorrelationProblem p, int fy, int fx, nint pitch, nint imageSize, ConvSegment* segments, CorrelationGroup* groups)
        where T : struct, ILanes<T>
    {
        int depth = p.GroupSource;
        int count = 0;
        for (int ty = 0; ty < p.TapsY; ty++)
        {
            if (!p.Y.Source(fy, ty, out int y)) continue;
            for (int tx = 0; tx < (p.JoinsTaps ? 1 : p.TapsX); tx++)
            {
                if (!p.X.Source(fx, tx, out int x)) continue;
                nint a = ((y - p.Y.Low) * pitch) + ((nint)(x - p.X.Low) * p.SourceChannels);
                segments[count++] = new ConvSegment(a, (nint)((ty * p.TapsX) + tx) * depth);
            }
        }
        int targets = p.X.Count(fx);
        int rows = ConvTileDispatch.GroupRows<T>(targets);
        int perRow = (targets + rows - 1) / rows;
        int lines = Math.Min(p.UnitRows, p.Y.Count(fy));
        CorrelationGroup* group = groups;
        for (int image = 0; image < p.UnitImages; image++)
        {
            for (int line = 0; line < lines; line++)
            {
                nint source = (image * imageSize) + (line * p.Y.Step * pitch);
                nint target = ((((nint)image * p.TargetHeight) + fy + (line * p.Y.Spread)) * p.TargetWidth) + fx;
                for (int i = 0; i < perRow; i++)
                {
                    int x = Math.Min(i * rows, targets - rows);
                    *group++ = new CorrelationGroup(
                        source + ((nint)x * p.X.Step * p.SourceChannels),
                        (target + ((nint)x * p.X.Spread)) * p.TargetChannels);
                }
            }
        }
        return new CorrelationPhase
        {
            _segments = segments,
            _segmentCount = count,
            _length = p.JoinsTaps ? (nint)depth * p.TapsX : depth,
            _groups = groups,
            _perRow = perRow,
            _groupRows = rows,
            _targets = targets,
            _targetRows = p.Y.Count(fy),
            _targetChannels = p.TargetChannels,
            _spread = p.X.Spread,
        };
    }

    /// <summary>How many tiles one strip of a unit has.</summary>
    public readonly nint Tiles<T>(int images, int row, int unitRows)
        where T : struct, ILanes<T>
    {
        nint groups = (nint)images * Math.Max(0, Math.Min(unitRows, _targetRows - row)) * _perRow;
        int together = ConvTileDispatch.Groups<T>();
        return (groups + together - 1) / together;
    }

    /// <summary>
    /// Runs the tiles of one unit and one strip; <paramref name="finish"/>, where it isn't fused, begins with the unit's
    /// first pixel.
    /// </summary>
    [SkipLocalsInit]
    public readonly void Run<T>(
        ref ConvTileArguments t, float* padded, float* target, int images, int row, int unitRows, int column, TileFinish finish, bool fused, int stripWidth,
        ref Prefetcher ahead)
        where T : struct, ILanes<T>
    {
        int lines = Math.Min(unitRows, _targetRows - row);
        if (lines <= 0) return;
        int together = ConvTileDispatch.Groups<T>();
        var kernel = ConvTileDispatch.Select<T, StridedRowWalk>(_groupRows, together, t.Columns);
        nint count = (nint)images * lines * _perRow;
        // Segments hold k; a strip makes addresses of them.
        ConvSegment* segments = stackalloc ConvSegment[_segmentCount];
        for (int s = 0; s < _segmentCount; s++) segments[s] = new ConvSegment(_segments[s].A, _segments[s].B * stripWidth);
        var piece = new ConvPiece(_segmentCount, 0);
        t.Segments = segments;
        t.Pieces = &piece;
        t.Length = _length;
        // Groups may overlap, so a tile that is to be finished is computed apart from its targets.
        nint toStride = t.ToStride;
        float* apart = stackalloc float[ConvTileArguments.TileSize];
        if (!fused) t.ToStride = ConvTileDispatch.Strip;
        CorrelationGroup* group = _groups;
        if (fused && T.TileBlocks > 1 && _segmentCount == 3 && _length == 3 && t.RowStride == 1 && t.Columns == 32 && _targets >= NineTaps512.LeastPixels)
        {
            for (int left = images * lines; left > 0; left--, group += _perRow)
                NineTaps512.Row(segments, padded + group->Source, t.B, target + group->Target, toStride, _targets, t.Bias, t.Relu);
            return;
        }
        for (; count > 0; count -= together, group += together)
        {
            if (count < together)
            {
                together = 1;
                kernel = ConvTileDispatch.Select<T, StridedRowWalk>(_groupRows, 1, t.Columns);
            }
            ahead.Tile();
            t.A0 = padded + group[0].Source;
            if (together > 1) t.A1 = padded + group[1].Source;
            if (fused)
            {
                t.To0 = target + group[0].Target;
                if (together > 1) t.To1 = target + group[1].Target;
                kernel(ref t);
            }
            else
            {
                t.To0 = apart;
                t.To1 = apart + ConvTileArguments.Slot(1, 0);
                kernel(ref t);
                for (int g = 0; g < together; g++)
                {
                    TileFinish own = finish;
                    if (finish.Outputs != null)
                    {
                        own = finish.From(group[g].Target / _targetChannels, 0);
                        own.StrideOutputs *= _spread;
                    }
                    own.Run<T>(apart + ConvTileArguments.Slot(g, 0), t.ToStride, target + group[g].Target, toStride, _groupRows, t.Columns, 0, column);
                }
            }
        }
        t.ToStride = toStride;
    }
}
