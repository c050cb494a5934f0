using System.Runtime.CompilerServices;

namespace DistTrain.Kernels;

/// <summary>
/// A forward pass or a data gradient by <see cref="Winograd"/>, in units of some images or rows of tiles: transform into
/// scratch that the L2 cache holds, a product for each of the 16 places, transform back, and what follows a sum.
/// </summary>
internal unsafe struct WinogradPass : IRangeKernel
{
    // Tiles that a thread should have at least.
    private const nint GrainTiles = 32;

    public ConvSource Source;
    public int Examples;

    /// <summary>The source's rows above and pixels before the first target's.</summary>
    public int PadTop;

    /// <inheritdoc cref="PadTop"/>
    public int PadLeft;

    public int Height;
    public int Width;
    public int Channels;

    /// <summary>(place, source channel, target channel).</summary>
    public float* Packed;

    public GemmEpilogue Epilogue;

    /// <summary>(examples, height, width, channels); null where <see cref="Pooled"/> gets the windows' maxima instead.</summary>
    public float* Target;

    /// <summary>(examples, height / 2, width / 2, channels).</summary>
    public float* Pooled;

    /// <summary>Like it; null for none.</summary>
    public float* Taps;

    private int _unitImages;
    private int _unitRows;

    private readonly int TilesY => Winograd.Tiles(Height);

    private readonly int TilesX => Winograd.Tiles(Width);

    private readonly int Bands => (TilesY + _unitRows - 1) / _unitRows;

    // Done while the outputs are in registers.
    private readonly bool Fuses => Epilogue.Outputs == null && Epilogue.Activation is Activation.Identity or Activation.Relu;

    public static void Run(WinogradPass pass, KernelPool? pool)
    {
        (pass._unitImages, pass._unitRows) = Winograd.Unit(pass.Examples, pass.TilesY, pass.TilesX, pass.Source.Channels + pass.Channels);
        int threads = pool?.Threads ?? 1;
        if (threads > 1)
        {
            // Small units only where there would be too few: a unit reads all weights.
            int wanted = 2 * threads;
            pass._unitImages = Math.Clamp(pass.Examples / wanted, 1, pass._unitImages);
            if (pass.Examples < wanted) pass._unitRows = Math.Clamp(pass.TilesY * pass.Examples / wanted, 1, pass._unitRows);
        }
        nint units = (nint)((pass.Examples + pass._unitImages - 1) / pass._unitImages) * pass.Bands;
        nint unit = (nint)pass._unitImages * pass._unitRows * pass.TilesX;
        RangeRunner.Run(pass, units, 1, Math.Max(1, GrainTiles / unit), pool);
    }

    /// <inheritdoc/>
    [SkipLocalsInit]
    public readonly void Run<T>(nint begin, nint end)
        where T : struct, ILanes<T>
    {
        if (begin == end) return;
        int depth = Source.Channels;
        int most = _unitImages * _unitRows * TilesX;
        // An odd number of lines between places, so that a tile's 16 stores don't meet in a set of the cache.
        nint sourcePlace = ((nint)most * depth) | 16;
        nint targetPlace = ((nint)most * Channels) | 16;
        int columns = (2 * TilesX) + 2;
        nint window = (nint)((2 * _unitRows) + 2) * columns * depth;
        float* transformed = Workspace.Get((Winograd.Places * (sourcePlace + targetPlace)) + window);
        float* products = transformed + (Winograd.Places * sourcePlace);
        float* padded = products + (Winograd.Places * targetPlace);
        for (nint unit = begin; unit < end; unit++)
        {
            int first = (int)(unit / Bands) * _unitImages;
            int images = Math.Min(_unitImages, Examples - first);
            int row = (int)(unit % Bands) * _unitRows;
            int rows = Math.Min(_unitRows, TilesY - row);
            float* to = transformed;
            for (int i = 0; i < images; i++)
            {
                Source.Copy<T>(first + i, (2 * row) - PadTop, -PadLeft, (2 * rows) + 2, columns, padded);
                to = Transform<T>(padded, rows, TilesX, depth, to, sourcePlace);
            }
            nint tiles = (nint)images * rows * TilesX;
            for (int place = 0; place < Winograd.Places; place++)
            {
                var block = new GemmBlock
                {
                    A = transformed + (place * sourcePlace),
                    RowA = depth,
                    StepA = 1,
                    B = Packed + ((nint)place * depth * Channels),
                    StepB = Channels,
                    Rows = tiles,
                    Columns = Channels,
                    Depth = depth,
                    First = true,
                    Sums = products + (place * targetPlace),
                    StrideSums = Channels,
                };
                block.Run<T>();
            }
            float* from = products;
            for (int i = 0; i < images; i++)
            {
                for (int r = row; r < row + rows; r++, from += TilesX * (nint)Channels)
                {
                    if (Target == null) PoolRow<T>(from, targetPlace, first + i, r);
                    else Row<T>(from, targetPlace, first + i, r);
                }
            }
        }
    }

    /// <summary>Transforms rows of tiles of a padded window; gives where the next tile goes.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static float* Transform<T>(float* padded, int rows, int tilesX, int channels, float* to, nint place)
        where T : struct, ILanes<T>
    {
        nint pitch = (nint)((2 * tilesX) + 2) * channels;
        for (int r = 0; r < rows; r++, padded += 2 * pitch)
        {
            float* from = padded;
            for (int x = 0; x < tilesX; x++, from += 2 * channels, to += channels)
            {
                for (int c = 0; c < channels; c += 16) WinogradTransforms.Input<T>(from + c, pitch, channels, to + c, place);
            }
        }
        return to;
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private readonly void Row<T>(float* from, nint place, int example, int tileRow)
        where T : struct, ILanes<T>
    {
        int y = 2 * tileRow;
        bool below = y + 1 < Height;
        nint pitch = (nint)Width * Channels;
        nint pixel = (((nint)example * Height) + y) * Width;
        float* line = Target + (pixel * Channels);
        bool fuses = Fuses;
        bool relu = fuses && Epilogue.Activation == Activation.Relu;
        float* bias = fuses ? Epilogue.Bias : null;
        float* to = line;
        for (int x = 0; x < Width; x += 2, from += Channels, to += 2 * Channels)
        {
            bool right = x + 1 < Width;
            for (int c = 0; c < Channels; c += 16)
            {
                WinogradTransforms.Output(from + c, place, out T y00, out T y01, out T y10, out T y11);
                Finish(bias, c, relu, ref y00, ref y01, ref y10, ref y11);
                T.Store(to + c, y00);
                if (right) T.Store(to + Channels + c, y01);
                if (!below) continue;
                T.Store(to + pitch + c, y10);
                if (right) T.Store(to + pitch + Channels + c, y11);
            }
        }
        if (fuses) return;
        var finish = new TileFinish
        {
            Alpha = 1,
            Bias = Epilogue.Bias,
            Activation = Epilogue.Activation,
            Outputs = Epilogue.Outputs,
            StrideOutputs = Epilogue.StrideOutputs,
        };
        finish.Run<T>(line, Channels, line, Channels, below ? 2 * Width : Width, Channels, pixel, 0);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private readonly void PoolRow<T>(float* from, nint place, int example, int tileRow)
        where T : struct, ILanes<T>
    {
        // What lies beyond the last whole window is in none.
        int wide = Width / 2;
        if (tileRow >= Height / 2) return;
        bool relu = Epilogue.Activation == Activation.Relu;
        nint to = (((nint)example * (Height / 2)) + tileRow) * wide * Channels;
        for (int x = 0; x < wide; x++, from += Channels, to += Channels)
        {
            for (int c = 0; c < Channels; c += 16)
            {
                WinogradTransforms.Output(from + c, place, out T y00, out T y01, out T y10, out T y11);
                Finish(Epilogue.Bias, c, relu, ref y00, ref y01, ref y10, ref y11);
                T.Store(Pooled + to + c, MaxPool2.Window(y00, y01, y10, y11, relu, out T tap));
                if (Taps != null) T.Store(Taps + to + c, tap);
            }
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Finish<T>(float* bias, int column, bool relu, ref T y00, ref T y01, ref T y10, ref T y11)
        where T : struct, ILanes<T>
    {
        if (bias != null)
        {
            T b = T.Load(bias + column);
            y00 += b;
            y01 += b;
            y10 += b;
            y11 += b;
        }
        if (!relu) return;
        ReluOperator operation = default;
        y00 = operation.Apply(y00);
        y01 = operation.Apply(y01);
        y10 = operation.Apply(y10);
        y11 = operation.Apply(y11);
    }
}
