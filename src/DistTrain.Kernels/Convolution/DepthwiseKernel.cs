using System.Runtime.CompilerServices;

namespace DistTrain.Kernels;

/// <summary>What a depthwise kernel does to its sums in registers.</summary>
[Flags]
internal enum DepthwiseFinish
{
    None = 0,
    Bias = 1,
    Relu = 2,
}

/// <summary>
/// A <see cref="CorrelationProblem"/> whose groups have one channel: 16 channels and several pixels of a row go over
/// the taps together. Items are bands of target rows of one image, copied with +0 around them like those of
/// <see cref="CorrelationKernel"/>, channels padded to a multiple of 16.
/// </summary>
internal unsafe struct DepthwiseKernel : IRangeKernel
{
    private const int ScratchElements = 32 * 1024;

    private const double GrainWork = 64 * 1024;

    private CorrelationProblem _problem;

    public static void Run(CorrelationProblem problem, KernelPool? pool)
    {
        nint row = (nint)problem.X.Reach(problem.X.Targets) * ConvPacking.PaddedColumns(problem.SourceChannels);
        int targets = problem.Y.Targets;
        nint halo = problem.Y.Reach(1) - problem.Y.Step;
        nint rows = Math.Max(((ScratchElements / row) - halo) / problem.Y.Step, 2 * halo / problem.Y.Step);
        int bands = (int)((targets + Math.Max(rows, 1) - 1) / Math.Max(rows, 1));
        problem.UnitImages = 1;
        problem.UnitRows = (targets + bands - 1) / bands;
        double unitWork = (double)problem.UnitRows * problem.TargetWidth * problem.TargetChannels * problem.TapsY * problem.TapsX;
        RangeRunner.Run(new DepthwiseKernel { _problem = problem }, problem.Units, 1, (nint)Math.Max(1, GrainWork / unitWork), pool);
    }

    /// <inheritdoc/>
    public readonly void Run<T>(nint begin, nint end)
        where T : struct, ILanes<T>
    {
        if (begin == end) return;
        ref readonly CorrelationProblem p = ref Unsafe.AsRef(in _problem);
        int pitch = ConvPacking.PaddedColumns(p.SourceChannels);
        bool inPlace = p.InPlace && pitch == p.SourceChannels;
        int columns = inPlace ? p.SourceWidth : p.X.Reach(p.X.Targets);
        int taps = p.TapsY * p.TapsX;
        nint scratch = inPlace ? 0 : (nint)columns * p.Y.Reach(p.UnitRows) * pitch;
        float* padded = Workspace.Get(scratch + (taps * 4) + 16);
        var segments = (ConvSegment*)(padded + scratch);
        nint imageSize = (nint)p.SourceHeight * p.SourceWidth * p.SourceChannels;
        for (nint unit = begin; unit < end; unit++)
        {
            int example = (int)(unit / p.Bands);
            int row = (int)(unit % p.Bands) * p.UnitRows;
            int from = (row * p.Y.Step) + p.Y.Low;
            float* image = p.Source + (example * imageSize);
            if (inPlace)
            {
                padded = image + ((((nint)from * columns) + p.X.Low) * pitch);
            }
            else
            {
                int needed = p.Y.Reach(Math.Min(p.UnitRows, p.Y.Targets - row));
                PaddedCopy.Run(image, p.SourceHeight, p.SourceWidth, p.SourceChannels, from, p.X.Low, needed, columns, padded, pitch);
            }
            for (int fy = 0; fy < p.Y.Phases; fy++)
            {
                for (int fx = 0; fx < p.X.Phases; fx++)
                {
                    int count = ListTaps(in p, fy, fx, columns, pitch, segments);
                    int lines = Math.Min(p.UnitRows, p.Y.Count(fy) - row);
                    for (int line = 0; line < lines; line++)
                    {
                        nint target = (((((nint)example * p.TargetHeight) + fy + ((row + line) * p.Y.Spread)) * p.TargetWidth) + fx) * p.TargetChannels;
                        Row<T>(in p, padded + ((nint)line * p.Y.Step * columns * pitch), pitch, p.Target + target, p.X.Count(fx), segments, count);
                    }
                }
            }
        }
    }

    /// <summary>The taps of a phase: where each reads the source, and where its weights are.</summary>
    private static int ListTaps(in CorrelationProblem p, int fy, int fx, int columns, int pitch, ConvSegment* segments)
    {
        int count = 0;
        for (int ty = 0; ty < p.TapsY; ty++)
        {
            if (!p.Y.Source(fy, ty, out int y)) continue;
            for (int tx = 0; tx < p.TapsX; tx++)
            {
                if (!p.X.Source(fx, tx, out int x)) continue;
                nint a = (((nint)(y - p.Y.Low) * columns) + x - p.X.Low) * pitch;
                segments[count++] = new ConvSegment(a, (nint)((ty * p.TapsX) + tx) * pitch);
            }
        }
        return count;
    }

    private static void Row<T>(in CorrelationProblem p, float* source, int pitch, float* target, int pixels, ConvSegment* taps, int tapCount)
        where T : struct, ILanes<T>
    {
        nint step = (nint)p.X.Step * pitch;
        nint toStep = (nint)p.X.Spread * p.TargetChannels;
        // The common ends are done in registers, the others row by row.
        bool fused = p.FusesEpilogue;
        DepthwiseFinish how = fused && p.Epilogue.Bias != null ? DepthwiseFinish.Bias : DepthwiseFinish.None;
        if (fused && p.Epilogue.Activation == Activation.Relu) how |= DepthwiseFinish.Relu;
        for (int c = 0; c < p.TargetChannels; c += 16)
        {
            int channels = Math.Min(16, p.TargetChannels - c);
            float* a = source + c;
            float* w = p.Packed + c;
            float* to = target + c;
            T bias = (how & DepthwiseFinish.Bias) != DepthwiseFinish.None ? T.LoadPartial(p.Epilogue.Bias + c, channels) : T.Zero;
            int x = 0;
            if (T.TileBlocks > 1)
                for (; x <= pixels - 8; x += 8, a += 8 * step, to += 8 * toStep) Eight<T>(a, step, w, taps, tapCount, to, toStep, channels, bias, how);
            for (; x <= pixels - 4; x += 4, a += 4 * step, to += 4 * toStep) Four<T>(a, step, w, taps, tapCount, to, toStep, channels, bias, how);
            for (; x < pixels; x++, a += step, to += toStep)
            {
                T c0 = T.Zero;
                for (int t = 0; t < tapCount; t++) c0 = T.Fma(T.Load(a + taps[t].A), T.Load(w + taps[t].B), c0);
                Store(to, c0, channels, bias, how);
            }
        }
        if (fused) return;
        TileFinish finish = p.Finish((nint)(target - p.Target) / p.TargetChannels);
        finish.StrideOutputs *= p.X.Spread;
        finish.Run<T>(target, toStep, target, toStep, pixels, p.TargetChannels, 0, 0);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Four<T>(float* a, nint step, float* w, ConvSegment* taps, int tapCount, float* to, nint toStep, int channels, T bias, DepthwiseFinish finish)
        where T : struct, ILanes<T>
    {
        T c0 = T.Zero, c1 = T.Zero, c2 = T.Zero, c3 = T.Zero;
        for (int t = 0; t < tapCount; t++)
        {
            T x = T.Load(w + taps[t].B);
            float* s = a + taps[t].A;
            c0 = T.Fma(T.Load(s), x, c0);
            c1 = T.Fma(T.Load(s + step), x, c1);
            c2 = T.Fma(T.Load(s + (2 * step)), x, c2);
            c3 = T.Fma(T.Load(s + (3 * step)), x, c3);
        }
        Store(to, c0, channels, bias, finish);
        Store(to + toStep, c1, channels, bias, finish);
        Store(to + (2 * toStep), c2, channels, bias, finish);
        Store(to + (3 * toStep), c3, channels, bias, finish);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Eight<T>(float* a, nint step, float* w, ConvSegment* taps, int tapCount, float* to, nint toStep, int channels, T bias, DepthwiseFinish finish)
        where T : struct, ILanes<T>
    {
        T c0 = T.Zero, c1 = T.Zero, c2 = T.Zero, c3 = T.Zero, c4 = T.Zero, c5 = T.Zero, c6 = T.Zero, c7 = T.Zero;
        nint step3 = 3 * step;
        for (int t = 0; t < tapCount; t++)
        {
            T x = T.Load(w + taps[t].B);
            float* s = a + taps[t].A;
            float* s4 = s + (4 * step);
            c0 = T.Fma(T.Load(s), x, c0);
            c1 = T.Fma(T.Load(s + step), x, c1);
            c2 = T.Fma(T.Load(s + (2 * step)), x, c2);
            c3 = T.Fma(T.Load(s + step3), x, c3);
            c4 = T.Fma(T.Load(s4), x, c4);
            c5 = T.Fma(T.Load(s4 + step), x, c5);
            c6 = T.Fma(T.Load(s4 + (2 * step)), x, c6);
            c7 = T.Fma(T.Load(s4 + step3), x, c7);
        }
        Store(to, c0, channels, bias, finish);
        Store(to + toStep, c1, channels, bias, finish);
        Store(to + (2 * toStep), c2, channels, bias, finish);
        Store(to + (3 * toStep), c3, channels, bias, finish);
        to += 4 * toStep;
        Store(to, c4, channels, bias, finish);
        Store(to + toStep, c5, channels, bias, finish);
        Store(to + (2 * toStep), c6, channels, bias, finish);
        Store(to + (3 * toStep), c7, channels, bias, finish);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Store<T>(float* to, T value, int channels, T bias, DepthwiseFinish finish)
        where T : struct, ILanes<T>
    {
        if ((finish & DepthwiseFinish.Bias) != DepthwiseFinish.None) value += bias;
        if ((finish & DepthwiseFinish.Relu) != DepthwiseFinish.None) value = default(ReluOperator).Apply(value);
        if (channels == 16) T.Store(to, value);
        else T.StorePartial(to, value, channels);
    }
}
