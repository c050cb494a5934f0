using System.Numerics;
using System.Runtime.CompilerServices;

namespace DistTrain.Kernels;

/// <summary>
/// A weight gradient by <see cref="Winograd"/>: a leaf's sums for all 16 places wait in the L2 cache while its tiles pass in
/// batches, and become nine taps at its end. Items are output channels.
/// </summary>
internal unsafe struct WinogradWeights : IRangeKernel
{
    private const double GrainWork = 256 * 1024;

    public ConvolutionShape Shape;
    public ConvSource DY;
    public float* X;
    public KRange* Ranges;
    public int* LeafStarts;
    public int Leaves;

    /// <summary>(outputs, channels, 3, 3).</summary>
    public float* DW;

    private int _unitImages;
    private int _unitRows;

    private readonly int TilesY => Winograd.Tiles(Shape.OutputHeight);

    private readonly int TilesX => Winograd.Tiles(Shape.OutputWidth);

    public static void Run(WinogradWeights kernel, KernelPool? pool)
    {
        ref readonly ConvolutionShape s = ref kernel.Shape;
        int examples = 0;
        for (int r = 0; r < kernel.LeafStarts[kernel.Leaves]; r++) examples += kernel.Ranges[r].Count;
        (kernel._unitImages, kernel._unitRows) = Winograd.Unit(examples, kernel.TilesY, kernel.TilesX, s.Channels + s.Outputs);
        double column = (double)examples * kernel.TilesY * kernel.TilesX * Winograd.Places * s.Channels;
        RangeRunner.Run(kernel, s.Outputs, 16, (nint)Math.Max(16, GrainWork / Math.Max(column, 1)), pool);
    }

    /// <inheritdoc/>
    [SkipLocalsInit]
    public readonly void Run<T>(nint begin, nint end)
        where T : struct, ILanes<T>
    {
        if (begin == end) return;
        int depth = Shape.Channels;
        int outputs = (int)(end - begin);
        int most = _unitImages * _unitRows * TilesX;
        nint inputPlace = ((nint)most * depth) | 16;
        nint gradientPlace = ((nint)most * outputs) | 16;
        nint sumPlace = ((nint)depth * outputs) | 16;
        nint window = (nint)((2 * _unitRows) + 2) * ((2 * TilesX) + 2) * depth;
        nint map = (nint)(2 * _unitRows) * 2 * TilesX * Shape.Outputs;
        nint tap = (nint)depth * outputs;
        int pendingMost = 33 - BitOperations.LeadingZeroCount((uint)(Leaves - 1));
        float* inputs = Workspace.Get((Winograd.Places * (inputPlace + gradientPlace + sumPlace)) + window + map + (pendingMost * 9 * tap));
        float* gradients = inputs + (Winograd.Places * inputPlace);
        float* sums = gradients + (Winograd.Places * gradientPlace);
        float* padded = sums + (Winograd.Places * sumPlace);
        float* spread = padded + window;
        float* stack = spread + map;
        int pending = 0;
        for (int leaf = 0; leaf < Leaves; leaf++)
        {
            bool empty = true;
            nint tiles = 0;
            int units = 0;
            for (int r = LeafStarts[leaf]; r < LeafStarts[leaf + 1]; r++)
            {
                for (int example = Ranges[r].Start; example < Ranges[r].Start + Ranges[r].Count; example++)
                {
                    for (int row = 0; row < TilesY; row += _unitRows)
                    {
                        int rows = Math.Min(_unitRows, TilesY - row);
                        PaddedCopy.Run(
                            X + (example * Shape.InputLength), Shape.Height, Shape.Width, depth, (2 * row) - Shape.PadTop, -Shape.PadLeft, (2 * rows) + 2,
                            (2 * TilesX) + 2, padded, depth);
                        WinogradPass.Transform<T>(padded, rows, TilesX, depth, inputs + (tiles * depth), inputPlace);
                        Gradients<T>(example, row, rows, (int)begin, outputs, spread, gradients + (tiles * outputs), gradientPlace);
                        tiles += (nint)rows * TilesX;
                        if (++units < _unitImages) continue;
                        Add<T>(inputs, inputPlace, gradients, gradientPlace, sums, sumPlace, tiles, outputs, empty);
                        empty = false;
                        tiles = units = 0;
                    }
                }
            }
            if (tiles > 0 || empty) Add<T>(inputs, inputPlace, gradients, gradientPlace, sums, sumPlace, tiles, outputs, empty);
            Finish<T>(sums, sumPlace, stack + (pending * 9 * tap), tap);
            for (int joins = LeafTree.Joins(leaf, leaf == Leaves - 1, pending); joins > 0; joins--)
            {
                pending--;
                Join<T>(stack + (pending * 9 * tap), 9 * tap);
            }
            pending++;
        }
        float* to = DW + (begin * depth * 9);
        for (int o = 0; o < outputs; o++)
        {
            float* from = stack + o;
            for (int c = 0; c < depth; c++, from += outputs)
                for (int t = 0; t < 9; t++) *to++ = from[t * tap];
        }
    }

    /// <summary>sums += inputsᵀ · gradients over tiles, place by place.</summary>
    private readonly void Add<T>(
        float* inputs, nint inputPlace, float* gradients, nint gradientPlace, float* sums, nint sumPlace, nint tiles, int outputs, bool first)
        where T : struct, ILanes<T>
    {
        for (int place = 0; place < Winograd.Places; place++)
        {
            var block = new GemmBlock
            {
                A = inputs + (place * inputPlace),
                RowA = 1,
                StepA = Shape.Channels,
                B = gradients + (place * gradientPlace),
                StepB = outputs,
                Rows = Shape.Channels,
                Columns = outputs,
                Depth = tiles,
                First = first,
                Sums = sums + (place * sumPlace),
                StrideSums = outputs,
            };
            block.Run<T>();
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private readonly void Gradients<T>(int example, int row, int rows, int begin, int outputs, float* spread, float* to, nint place)
        where T : struct, ILanes<T>
    {
        if (DY.Taps != null)
        {
            Pooled<T>(example, row, rows, begin, outputs, to, place);
            return;
        }
        int width = 2 * TilesX;
        float* from = DY.Values + ((((nint)example * DY.Height) + (2 * row)) * DY.Width * DY.Channels);
        if (width != DY.Width || 2 * (row + rows) > DY.Height)
        {
            DY.Copy<T>(example, 2 * row, 0, 2 * rows, width, spread);
            from = spread;
        }
        int channels = DY.Channels;
        nint pitch = (nint)width * channels;
        from += begin;
        for (int r = 0; r < rows; r++, from += pitch)
        {
            for (int x = 0; x < TilesX; x++, from += 2 * channels, to += outputs)
            {
                for (int c = 0; c < outputs; c += 16)
                {
                    float* at = from + c;
                    WinogradTransforms.Gradient(T.Load(at), T.Load(at + channels), T.Load(at + pitch), T.Load(at + pitch + channels), to + c, place);
                }
            }
        }
    }

    // A tile is a window of the pooling: one of its four gradients at most is not 0.
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private readonly void Pooled<T>(int example, int row, int rows, int begin, int outputs, float* to, nint place)
        where T : struct, ILanes<T>
    {
        int high = DY.Height / 2, wide = DY.Width / 2;
        for (int r = row; r < row + rows; r++)
        {
            nint from = (((((nint)example * high) + r) * wide) * DY.Channels) + begin;
            for (int x = 0; x < TilesX; x++, from += DY.Channels, to += outputs)
            {
                bool inside = r < high && x < wide;
                for (int c = 0; c < outputs; c += 16)
                {
                    T g = T.Zero, t = T.Zero;
                    if (inside)
                    {
                        g = T.Load(DY.Values + from + c);
                        t = T.Load(DY.Taps + from + c);
                    }
                    WinogradTransforms.Gradient(
                        T.And(T.Equal(t, T.Zero), g), T.And(T.Equal(t, T.Broadcast(1)), g), T.And(T.Equal(t, T.Broadcast(2)), g), T.And(T.Equal(t, T.Broadcast(3)), g),
                        to + c, place);
                }
            }
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Finish<T>(float* sums, nint place, float* to, nint tap)
        where T : struct, ILanes<T>
    {
        for (nint i = 0; i < tap; i += 16) WinogradTransforms.Weights<T>(sums + i, place, to + i, tap);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Join<T>(float* earlier, nint length)
        where T : struct, ILanes<T>
    {
        for (nint i = 0; i < length; i += 16) T.Store(earlier + i, T.Load(earlier + i) + T.Load(earlier + length + i));
    }
}
