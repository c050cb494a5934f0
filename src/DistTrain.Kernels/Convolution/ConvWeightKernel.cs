using System.Numerics;
using System.Runtime.CompilerServices;

namespace DistTrain.Kernels;

/// <summary>
/// Runs a <see cref="ConvWeightProblem"/>: dWᵀ, whose rows are (ky, kx, channel), is cut into register tiles. Each
/// visit brings some bands of images: their padded input and, strip by strip, dY are packed into the caches, and all
/// tiles go over them. Items are those of the <see cref="ConvWeightLayout"/>, strip by strip.
/// </summary>
internal unsafe struct ConvWeightKernel : IRangeKernel
{
    // Pixels of a visit: a packed strip of dY then fits the L1 cache. With few tiles it is read in place instead.
    private const int VisitPixels = 400;
    private const int VisitPixelsInPlace = 2048;

    // Floats of a visit's padded input.
    private const int ScratchElements = 128 * 1024;

    // Floats of the tiles' stacks; more strips than fit are done in turns.
    private const nint StackElements = 1024 * 1024;

    private const double GrainWork = 256 * 1024;

    private ConvWeightProblem _problem;

    public static void Run(ConvWeightProblem problem, KernelPool? pool)
    {
        var kernel = new ConvWeightKernel { _problem = problem };
        var layout = SimdPath.Current switch
        {
            SimdLevel.Vector512 => ConvWeightLayout.Make<Lanes512>(in problem),
            SimdLevel.Vector256 => ConvWeightLayout.Make<Lanes256>(in problem),
            SimdLevel.Vector128 => ConvWeightLayout.Make<Lanes128>(in problem),
            _ => ConvWeightLayout.Make<LanesScalar>(in problem),
        };
        ref readonly ConvolutionShape s = ref problem.Shape;
        kernel._problem.Blocked = problem.Blocked = layout.Blocked;
        int pixels = layout.RowItems * layout.ItemTiles <= ConvWeightLayout.FewTiles ? VisitPixelsInPlace : VisitPixels;
        nint rowFloats = (nint)problem.PaddedWidth * s.Channels;
        int rows = (int)Math.Clamp(pixels / s.OutputWidth, 1, s.OutputHeight);
        if (!problem.InPlace) rows = (int)Math.Clamp(((ScratchElements / rowFloats) - problem.ReachY) / s.StrideY, 1, rows);
        int bands = (s.OutputHeight + rows - 1) / rows;
        kernel._problem.BandRows = (s.OutputHeight + bands - 1) / bands;
        kernel._problem.VisitBands = 1;
        if (bands == 1)
        {
            nint images = pixels / (s.OutputHeight * s.OutputWidth);
            if (!problem.InPlace) images = Math.Min(images, ScratchElements / (rowFloats * problem.PaddedRows(s.OutputHeight)));
            kernel._problem.VisitBands = (int)Math.Clamp(images, 1, 256);
        }
        double count = 0;
        for (int r = 0; r < problem.LeafStarts[problem.Leaves]; r++) count += problem.Ranges[r].Count;
        double itemWork = count * s.OutputHeight * s.OutputWidth * 12 * 32 * layout.ItemTiles;
        RangeRunner.Run(kernel, layout.Items, 1, (nint)Math.Max(1, GrainWork / Math.Max(itemWork, 1)), pool);
    }

    /// <inheritdoc/>
    [SkipLocalsInit]
    public readonly void Run<T>(nint begin, nint end)
        where T : struct, ILanes<T>
    {
        if (begin == end) return;
        ref readonly ConvWeightProblem p = ref Unsafe.AsRef(in _problem);
        ConvWeightLayout layout = ConvWeightLayout.Make<T>(in p);
        int depth = 33 - BitOperations.LeadingZeroCount((uint)(p.Leaves - 1));
        nint tileFloats = depth * ConvTileArguments.TileSize;
        nint itemFloats = layout.ItemTiles * tileFloats;
        nint firstStrip = begin / layout.RowItems;
        nint lastStrip = (end - 1) / layout.RowItems;
        nint most = Math.Clamp(StackElements / (itemFloats * layout.RowItems), 1, lastStrip - firstStrip + 1);

        nint bandFloats = p.InPlace ? 0 : (nint)p.PaddedWidth * p.PaddedRows(p.BandRows) * p.Shape.Channels;
        nint paddedFloats = ((bandFloats * p.VisitBands) + Packing.Slack + 15) & ~15;
        int visitRows = p.VisitBands * p.BandRows;
        nint dyFloats = layout.PackDY ? ((nint)visitRows * p.Shape.OutputWidth * layout.Width) + Packing.Slack : 0;
        // A gradient behind a pooling is written out, a visit at a time.
        bool pooled = p.DY.Taps != null;
        nint mapFloats = pooled ? (((nint)visitRows * p.Shape.OutputWidth * p.Shape.Outputs) + 15) & ~15 : 0;
        nint stackFloats = (most * layout.RowItems * itemFloats) + ConvTileArguments.TileSize;
        int pieces = ConvVisits.MaxPieces(p.Leaves, p.VisitBands);
        float* stack = Workspace.Get(stackFloats + dyFloats + paddedFloats + mapFloats + (visitRows * 8) + (pieces * 4) + (p.VisitBands * 3) + 64);
        float* strip = stack + stackFloats;
        float* padded = strip + dyFloats;
        float* map = padded + paddedFloats;
        var segments = (ConvSegment*)(map + mapFloats);
        var narrow = segments + visitRows;
        var visitPieces = (ConvPiece*)(narrow + visitRows);
        var rowPieces = visitPieces + pieces;
        var bands = (ConvBand*)(rowPieces + pieces);

        for (nint s = firstStrip; s <= lastStrip; s += most)
        {
            nint from = Math.Max(begin, s * layout.RowItems);
            nint to = Math.Min(end, Math.Min(s + most, lastStrip + 1) * layout.RowItems);
            var visits = new ConvVisits(bands, visitPieces);
            while (visits.Next(in p))
            {
                if (!p.InPlace) CopyBands<T>(in p, in visits, in layout, padded, bandFloats);
                if (pooled) Spread<T>(in p, in visits, map);
                ListSegments(in p, in visits, in layout, bandFloats, layout.Blocked ? 12 : p.Shape.Channels, segments, rowPieces);
                if (layout.Blocked) ListSegments(in p, in visits, in layout, bandFloats, 8, narrow, rowPieces);
                ConvTileArguments t = default;
                t.Segments = segments;
                t.Length = p.Shape.OutputWidth;
                t.Pieces = rowPieces;
                t.PieceCount = visits.PieceCount;
                t.Continues = visits.Continues;
                t.Step = layout.Blocked ? p.Shape.StrideX : (nint)p.Shape.StrideX * p.Shape.Channels;
                t.StepB = layout.PackDY ? layout.Width : p.Shape.Outputs;
                float* top = stack + (visits.Pending * ConvTileArguments.TileSize);
                Prefetcher ahead = Ahead(in p, in visits, (to - from) * layout.ItemTiles);
                for (nint item = from; item < to;)
                {
                    nint stripEnd = Math.Min(to, ((item / layout.RowItems) + 1) * layout.RowItems);
                    layout.Column(item / layout.RowItems, out int group, out int column, out t.Columns);
                    if (layout.PackDY) PackDY<T>(in p, in visits, pooled ? map : null, column, t.Columns, layout.Width, strip);
                    t.B = layout.PackDY ? strip : (pooled ? map : p.DY.Values) + column;
                    nint channel = group * p.Shape.GroupChannels;
                    float* source = p.InPlace ? p.X + channel : padded + (layout.Blocked ? channel * (bandFloats / p.Shape.Channels) : channel);
                    layout.Run<T>(
                        ref t, narrow, source, (int)(item % layout.RowItems), stripEnd - item, top + ((item - from) * itemFloats), tileFloats, ref ahead);
                    item = stripEnd;
                }
            }
            for (nint item = from; item < to; item++) layout.Scatter(in p, item, stack + ((item - from) * itemFloats), tileFloats);
        }
    }

    /// <summary>What the next visit reads, if its examples follow this one's, to be spread over the tiles.</summary>
    private static Prefetcher Ahead(in ConvWeightProblem p, in ConvVisits visits, nint tiles)
    {
        if (visits.BandCount == 0 || p.DY.Taps != null) return default;
        ref readonly ConvolutionShape s = ref p.Shape;
        ConvBand band = visits.Bands[visits.BandCount - 1];
        nint row = band.Row + band.Rows;
        nint y = (nint)s.OutputWidth * s.Outputs;
        nint x = (nint)s.Width * s.Channels;
        return new Prefetcher(
            p.DY.Values + (((band.Example * (nint)s.OutputHeight) + row) * y),
            visits.BandCount * p.BandRows * y,
            p.X + (band.Example * s.InputLength) + (Math.Min((row * s.StrideY) + s.PadTop, s.Height) * x),
            Math.Min((nint)visits.BandCount * p.BandRows * s.StrideY, (nint)visits.BandCount * s.Height) * x,
            tiles);
    }

    private static void CopyBands<T>(in ConvWeightProblem p, in ConvVisits visits, in ConvWeightLayout layout, float* padded, nint bandFloats)
        where T : struct, ILanes<T>
    {
        ref readonly ConvolutionShape s = ref p.Shape;
        for (int i = 0; i < visits.BandCount; i++, padded += bandFloats)
        {
            ConvBand band = visits.Bands[i];
            float* image = p.X + (band.Example * s.InputLength);
            int top = (band.Row * s.StrideY) - s.PadTop;
            if (!layout.Blocked)
            {
                PaddedCopy.Run(image, s.Height, s.Width, s.Channels, top, -s.PadLeft, p.PaddedRows(band.Rows), p.PaddedWidth, padded, s.Channels);
                continue;
            }
            for (int group = 0; group < s.Groups; group++)
            {
                for (int block = 0; block < layout.RowItems; block++)
                {
                    int channel = (group * s.GroupChannels) + layout.BlockStart(block);
                    PaddedCopy.Block<T>(
                        image + channel, s.Height, s.Width, s.Channels, top, -s.PadLeft, p.PaddedRows(band.Rows), p.PaddedWidth,
                        padded + (bandFloats / s.Channels * channel), layout.BlockWidth(block));
                }
            }
        }
    }

    /// <summary>Lists the rows of pixels of a visit, for a source of pixels of so many floats, and counts the pieces in them.</summary>
    private static void ListSegments(
        in ConvWeightProblem p, in ConvVisits visits, in ConvWeightLayout layout, nint bandFloats, int pixel, ConvSegment* segments, ConvPiece* pieces)
    {
        ref readonly ConvolutionShape s = ref p.Shape;
        nint pitch = (nint)p.PaddedWidth * pixel * s.StrideY;
        nint packed = 0;
        nint width = layout.PackDY ? layout.Width : s.Outputs;
        bool running = layout.PackDY || p.DY.Taps != null;
        int band = 0;
        for (int piece = 0; piece < visits.PieceCount; piece++)
        {
            int rows = 0;
            for (int i = 0; i < visits.Pieces[piece].Segments; i++, band++)
            {
                ConvBand b = visits.Bands[band];
                nint a = p.InPlace ? (b.Example * s.InputLength) + (b.Row * pitch) : band * bandFloats;
                nint y = (((nint)b.Example * s.OutputHeight) + b.Row) * s.OutputWidth * s.Outputs;
                for (int row = 0; row < b.Rows; row++)
                {
                    *segments++ = new ConvSegment(a + (row * pitch), running ? packed : y + ((nint)row * s.OutputWidth * s.Outputs));
                    packed += s.OutputWidth * width;
                }
                rows += b.Rows;
            }
            pieces[piece] = new ConvPiece(rows, visits.Pieces[piece].Joins);
        }
    }

    private static void Spread<T>(in ConvWeightProblem p, in ConvVisits visits, float* map)
        where T : struct, ILanes<T>
    {
        int width = p.Shape.OutputWidth;
        for (int i = 0; i < visits.BandCount; i++)
        {
            ConvBand band = visits.Bands[i];
            p.DY.Copy<T>(band.Example, band.Row, 0, band.Rows, width, map);
            map += (nint)band.Rows * width * p.Shape.Outputs;
        }
    }

    // From the bands written out one behind the other, or where there are none from the whole.
    private static void PackDY<T>(in ConvWeightProblem p, in ConvVisits visits, float* map, int column, int columns, int width, float* strip)
        where T : struct, ILanes<T>
    {
        ref readonly ConvolutionShape s = ref p.Shape;
        for (int i = 0; i < visits.BandCount; i++)
        {
            ConvBand band = visits.Bands[i];
            nint pixel = (((nint)band.Example * s.OutputHeight) + band.Row) * s.OutputWidth;
            nint count = (nint)band.Rows * s.OutputWidth;
            float* from = map != null ? map : p.DY.Values + (pixel * s.Outputs);
            if (map != null) map += count * s.Outputs;
            Packing.CopyColumns<T>(from + column, s.Outputs, count, columns, width, strip);
            strip += count * width;
        }
    }
}
