using System.Runtime.CompilerServices;

namespace DistTrain.Kernels;

/// <summary>
/// Runs a <see cref="CorrelationProblem"/> unit by unit. A unit's images (or a band of rows of one) are copied once
/// into scratch with +0 around them, which the L2 cache holds, and the register tiles read their pixels from there;
/// each strip of weights stays in the caches while all tiles of the unit pass.
/// </summary>
internal unsafe struct CorrelationKernel : IRangeKernel
{
    // Floats of a unit's padded source.
    private const int ScratchElements = 64 * 1024;

    // Floats of a unit's map, where it is pooled.
    private const int MapElements = 64 * 1024;

    // Multiplications that a thread should have at least.
    private const double GrainWork = 256 * 1024;

    private CorrelationProblem _problem;

    public static void Run(CorrelationProblem problem, KernelPool? pool)
    {
        int threads = pool?.Threads ?? 1;
        nint row = (nint)problem.X.Reach(problem.X.Targets) * problem.SourceChannels;
        int targets = problem.Y.Targets;
        nint image = row * problem.Y.Reach(targets);
        problem.UnitImages = (int)Math.Clamp(ScratchElements / image, 1, problem.Examples);
        problem.UnitRows = targets;
        if (image > ScratchElements && !problem.InPlace)
        {
            nint halo = problem.Y.Reach(1) - problem.Y.Step;
            nint rows = ((ScratchElements / row) - halo) / problem.Y.Step;
            // At least as many new rows as are read again for the next band.
            problem.UnitRows = (int)Math.Clamp(Math.Max(rows, (halo + problem.Y.Step - 1) / problem.Y.Step), 1, targets);
        }
        if (problem.Pooled != null)
        {
            // The unit's map is written to scratch too; a window's rows are of one unit.
            nint mapRow = (nint)problem.TargetWidth * problem.TargetChannels;
            problem.UnitImages = (int)Math.Clamp(MapElements / (mapRow * targets), 1, problem.UnitImages);
            if (problem.UnitRows < targets || mapRow * targets > MapElements)
                problem.UnitRows = (int)Math.Clamp(MapElements / mapRow / 2 * 2, 2, Even(problem.UnitRows, targets));
        }
        double work = (double)problem.TargetHeight * problem.TargetWidth * problem.TargetChannels * problem.TapsY * problem.TapsX * problem.GroupSource;
        if (threads > 1 && work * problem.Examples > 2 * GrainWork)
        {
            problem.UnitImages = Math.Clamp(problem.Examples / (2 * threads), 1, problem.UnitImages);
            if (problem.Examples < 2 * threads)
            {
                int bands = ((2 * threads) + problem.Examples - 1) / problem.Examples;
                problem.UnitRows = Math.Clamp((targets + bands - 1) / bands, 1, problem.UnitRows);
                if (problem.Pooled != null) problem.UnitRows = Even(problem.UnitRows, targets);
            }
        }
        double unitWork = work * problem.UnitImages * problem.UnitRows / targets;
        RangeRunner.Run(new CorrelationKernel { _problem = problem }, problem.Units, 1, (nint)Math.Max(1, GrainWork / Math.Max(unitWork, 1)), pool);
    }

    // Rows of windows are not cut.
    private static int Even(int rows, int targets) => rows == targets ? rows : Math.Max(2, rows / 2 * 2);

    /// <inheritdoc/>
    [SkipLocalsInit]
    public readonly void Run<T>(nint begin, nint end)
        where T : struct, ILanes<T>
    {
        if (begin == end) return;
        ref readonly CorrelationProblem p = ref Unsafe.AsRef(in _problem);
        bool inPlace = p.InPlace;
        int columns = inPlace ? p.SourceWidth : p.X.Reach(p.X.Targets);
        nint pitch = (nint)columns * p.SourceChannels;
        int rows = inPlace ? p.SourceHeight : p.Y.Reach(p.UnitRows);
        nint imageSize = pitch * rows;
        int phases = p.Y.Phases * p.X.Phases;
        int taps = p.TapsY * p.TapsX;
        int bias = p.Epilogue.Bias == null ? 0 : p.Groups * ConvPacking.PaddedColumns(p.GroupTarget);
        int groupsMost = 0;
        for (int fx = 0; fx < p.X.Phases; fx++) groupsMost = Math.Max(groupsMost, CorrelationPhase.GroupsOf<T>(p.X.Count(fx)));
        nint tableSize = (nint)p.UnitImages * p.UnitRows * groupsMost;

        // Two floats hold an address.
        nint segmentFloats = (nint)phases * taps * 4;
        nint tableFloats = phases * tableSize * 4;
        nint phaseFloats = (phases * sizeof(CorrelationPhase) / sizeof(float)) + 2;
        nint scratch = inPlace ? 0 : (imageSize * p.UnitImages) + 16;
        nint map = p.Pooled == null ? 0 : ((nint)p.UnitImages * (p.UnitImages > 1 ? p.TargetHeight : p.UnitRows) * p.TargetWidth * p.TargetChannels) + 16;
        float* memory = Workspace.Get(map + scratch + bias + segmentFloats + tableFloats + phaseFloats + 80);
        float* unitMap = memory;
        float* padded = memory + ((map + 15) & ~15);
        float* paddedBias = padded + ((scratch + 15) & ~15);
        var segments = (ConvSegment*)(paddedBias + bias);
        var table = (CorrelationGroup*)(segments + (phases * taps));
        var list = (CorrelationPhase*)(table + (phases * tableSize));
        if (bias > 0) PadBias(in p, paddedBias);
        for (int fy = 0; fy < p.Y.Phases; fy++)
        {
            for (int fx = 0; fx < p.X.Phases; fx++)
            {
                int f = (fy * p.X.Phases) + fx;
                list[f] = CorrelationPhase.Make<T>(in p, fy, fx, pitch, imageSize, segments + (f * taps), table + (f * tableSize));
            }
        }

        for (nint unit = begin; unit < end; unit++)
        {
            int first = (int)(unit / p.Bands) * p.UnitImages;
            int count = Math.Min(p.UnitImages, p.Examples - first);
            int row = (int)(unit % p.Bands) * p.UnitRows;
            int from = (row * p.Y.Step) + p.Y.Low;
            float* images = p.Source + (first * (nint)p.SourceHeight * p.SourceWidth * p.SourceChannels);
            if (inPlace)
            {
                padded = images + (from * pitch) + (p.X.Low * p.SourceChannels);
            }
            else
            {
                int needed = p.Y.Reach(Math.Min(p.UnitRows, p.Y.Targets - row));
                ConvSource source = p.Images;
                for (int i = 0; i < count; i++) source.Copy<T>(first + i, from, p.X.Low, needed, columns, padded + (i * imageSize));
            }
            float* target = p.Pooled != null ? unitMap : p.Target + (((((nint)first * p.TargetHeight) + (row * p.Y.Spread)) * p.TargetWidth) * p.TargetChannels);
            nint tiles = 0;
            for (int f = 0; f < phases; f++) tiles += list[f].Tiles<T>(count, row, p.UnitRows);
            tiles *= p.Groups * ((p.GroupTarget + (16 * T.TileBlocks) - 1) / (16 * T.TileBlocks));
            Prefetcher ahead = unit + 1 < end ? Ahead(in p, unit + 1, tiles) : default;
            Tiles<T>(in p, list, phases, padded, target, bias > 0 ? paddedBias : null, count, row, ref ahead);
            if (p.Pooled != null) Pool<T>(in p, unitMap, first, count, row);
        }
    }

    private static void Pool<T>(in CorrelationProblem p, float* map, int first, int images, int row)
        where T : struct, ILanes<T>
    {
        int high = p.TargetHeight / 2;
        int rows = Math.Min(p.UnitRows / 2, high - (row / 2));
        nint line = (nint)(p.TargetWidth / 2) * p.TargetChannels;
        for (int i = 0; i < images; i++, map += (nint)p.TargetHeight * p.TargetWidth * p.TargetChannels)
        {
            nint to = (((nint)(first + i) * high) + (row / 2)) * line;
            MaxPool2.Rows<T>(
                map, rows, p.TargetWidth, p.TargetChannels, p.Epilogue.Activation == Activation.Relu, p.Pooled + to, p.PooledTaps == null ? null : p.PooledTaps + to);
        }
    }

    /// <summary>What a unit reads, to be spread over the tiles of the one before.</summary>
    private static Prefetcher Ahead(in CorrelationProblem p, nint unit, nint tiles)
    {
        if (p.SourceTaps != null) return default;
        int first = (int)(unit / p.Bands) * p.UnitImages;
        int row = (int)(unit % p.Bands) * p.UnitRows;
        nint pitch = (nint)p.SourceWidth * p.SourceChannels;
        int from = Math.Clamp((row * p.Y.Step) + p.Y.Low, 0, p.SourceHeight);
        int to = Math.Clamp((row * p.Y.Step) + p.Y.Low + p.Y.Reach(p.UnitRows), from, p.SourceHeight);
        nint length = p.UnitImages > 1 ? Math.Min(p.UnitImages, p.Examples - first) * p.SourceHeight * pitch : (to - from) * pitch;
        return new Prefetcher(p.Source + (((first * (nint)p.SourceHeight) + from) * pitch), length, null, 0, Math.Max(tiles, 1));
    }

    private static void PadBias(in CorrelationProblem p, float* padded)
    {
        int real = p.GroupTarget;
        int width = ConvPacking.PaddedColumns(real);
        for (int group = 0; group < p.Groups; group++, padded += width)
            for (int j = 0; j < width; j++) padded[j] = j < real ? p.Epilogue.Bias[(group * real) + j] : 0;
    }

    private static void Tiles<T>(
        in CorrelationProblem p, CorrelationPhase* phases, int phaseCount, float* padded, float* target, float* bias, int images, int row, ref Prefetcher ahead)
        where T : struct, ILanes<T>
    {
        int width = 16 * T.TileBlocks;
        int real = p.GroupTarget;
        nint depth = (nint)p.TapsY * p.TapsX * p.GroupSource;
        bool fused = p.FusesEpilogue;
        TileFinish finish = fused ? default : p.Finish((nint)(target - p.Target) / p.TargetChannels);
        for (int group = 0; group < p.Groups; group++)
        {
            float* weights = p.Packed + (group * ConvPacking.GroupLength(real, depth));
            for (int j = 0; j < real; j += width)
            {
                // Where tiles are narrower than strips, they take a strip's halves.
                int strip = j / ConvTileDispatch.Strip * ConvTileDispatch.Strip;
                int stripWidth = Math.Min(ConvTileDispatch.Strip, ConvPacking.PaddedColumns(real) - strip);
                var t = default(ConvTileArguments);
                t.B = weights + (strip * depth) + (j - strip);
                t.StepB = stripWidth;
                t.Columns = Math.Min(width, real - j);
                t.RowStride = (nint)p.X.Step * p.SourceChannels;
                t.ToStride = (nint)p.X.Spread * p.TargetChannels;
                t.PieceCount = 1;
                t.Relu = fused && p.Epilogue.Activation == Activation.Relu;
                int column = (group * real) + j;
                t.Bias = bias == null || !fused ? null : bias + (group * ConvPacking.PaddedColumns(real)) + j;
                for (int f = 0; f < phaseCount; f++)
                {
                    phases[f].Run<T>(
                        ref t, padded + (group * p.GroupSource), target + column, images, row, p.UnitRows, column, finish, fused, stripWidth, ref ahead);
                }
            }
        }
    }
}
