using System.Numerics;
using System.Runtime.CompilerServices;

namespace DistTrain.Kernels;

/// <summary>
/// The weight gradient of a depthwise convolution: 16 channels go over the pixels together, several taps at once, their
/// sums in registers for the length of an image. Items are blocks of 16 channels. The sums of all taps are small, so
/// that a leaf's wait whole for the tree.
/// </summary>
internal unsafe struct DepthwiseWeightKernel : IRangeKernel
{
    private const double GrainWork = 64 * 1024;

    private ConvWeightProblem _problem;

    public static void Run(ConvWeightProblem problem, KernelPool? pool)
    {
        ref readonly ConvolutionShape s = ref problem.Shape;
        double count = 0;
        for (int r = 0; r < problem.LeafStarts[problem.Leaves]; r++) count += problem.Ranges[r].Count;
        double work = count * s.OutputHeight * s.OutputWidth * s.Taps * 16;
        nint blocks = (s.Channels + 15) / 16;
        RangeRunner.Run(new DepthwiseWeightKernel { _problem = problem }, blocks, 1, (nint)Math.Max(1, GrainWork / Math.Max(work, 1)), pool);
    }

    /// <inheritdoc/>
    public readonly void Run<T>(nint begin, nint end)
        where T : struct, ILanes<T>
    {
        if (begin == end) return;
        ref readonly ConvWeightProblem p = ref Unsafe.AsRef(in _problem);
        ref readonly ConvolutionShape s = ref p.Shape;
        int first = (int)begin * 16;
        int channels = (int)Math.Min(end * 16, s.Channels) - first;
        int pitch = (channels + 15) / 16 * 16;
        int paddedRows = ((s.OutputHeight - 1) * s.StrideY) + p.ReachY;
        int paddedWidth = ((s.OutputWidth - 1) * s.StrideX) + p.ReachX;
        nint level = (nint)s.Taps * pitch;
        int depth = 33 - BitOperations.LeadingZeroCount((uint)(p.Leaves - 1));
        float* stack = Workspace.Get((depth * level) + ((nint)paddedRows * paddedWidth * pitch));
        float* padded = stack + (depth * level);
        float* top = stack;
        int pending = 0;
        for (int leaf = 0; leaf < p.Leaves; leaf++)
        {
            new Span<float>(top, (int)level).Clear();
            for (int r = p.LeafStarts[leaf]; r < p.LeafStarts[leaf + 1]; r++)
            {
                for (int i = 0; i < p.Ranges[r].Count; i++)
                {
                    nint example = p.Ranges[r].Start + i;
                    float* image = p.X + (example * s.InputLength) + first;
                    if (channels == s.Channels) PaddedCopy.Run(image, s.Height, s.Width, channels, -s.PadTop, -s.PadLeft, paddedRows, paddedWidth, padded, pitch);
                    else CopyChannels(in s, image, channels, pitch, paddedRows, paddedWidth, padded);
                    Image<T>(in s, p.DY.Values + (example * s.OutputLength) + first, channels, padded, pitch, paddedWidth, top);
                }
            }
            for (int joins = LeafTree.Joins(leaf, leaf == p.Leaves - 1, pending); joins > 0; joins--, pending--)
            {
                float* below = top - level;
                for (nint i = 0; i < level; i += 16) T.Store(below + i, T.Load(below + i) + T.Load(top + i));
                top = below;
            }
            pending++;
            top += level;
        }
        for (int c = 0; c < channels; c++)
            for (int tap = 0; tap < s.Taps; tap++) p.DW[((nint)(first + c) * s.Taps) + tap] = stack[((nint)tap * pitch) + c];
    }

    private static void CopyChannels(in ConvolutionShape s, float* image, int channels, int pitch, int rows, int columns, float* padded)
    {
        for (int y = 0; y < rows; y++)
        {
            for (int x = 0; x < columns; x++, padded += pitch)
            {
                int fromY = y - s.PadTop, fromX = x - s.PadLeft;
                bool inside = fromY >= 0 && fromY < s.Height && fromX >= 0 && fromX < s.Width;
                int real = inside ? channels : 0;
                if (real > 0) new Span<float>(image + ((((nint)fromY * s.Width) + fromX) * s.Channels), real).CopyTo(new Span<float>(padded, real));
                new Span<float>(padded + real, pitch - real).Clear();
            }
        }
    }

    private static void Image<T>(in ConvolutionShape s, float* dY, int channels, float* padded, int pitch, int paddedWidth, float* sums)
        where T : struct, ILanes<T>
    {
        int most = T.TileBlocks > 1 ? 5 : 3;
        nint* offsets = stackalloc nint[5];
        new Span<nint>(offsets, 5).Clear();
        for (int c = 0; c < channels; c += 16)
        {
            int real = Math.Min(16, channels - c);
            for (int tap = 0; tap < s.Taps;)
            {
                int left = s.Taps - tap;
                int count = left >= most ? most : left >= 4 && most >= 4 ? 4 : left >= 3 ? 3 : 1;
                for (int i = 0; i < count; i++)
                {
                    int ky = (tap + i) / s.KernelWidth, kx = (tap + i) % s.KernelWidth;
                    offsets[i] = (((nint)ky * s.DilationY * paddedWidth) + (kx * s.DilationX)) * pitch;
                }
                float* x = padded + c;
                float* to = sums + ((nint)tap * pitch) + c;
                switch (count)
                {
                    case 5: Block<T, Rows5>(in s, dY + c, real, x, pitch, paddedWidth, offsets, to); break;
                    case 4: Block<T, Rows4>(in s, dY + c, real, x, pitch, paddedWidth, offsets, to); break;
                    case 3: Block<T, Rows3>(in s, dY + c, real, x, pitch, paddedWidth, offsets, to); break;
                    default: Block<T, Rows1>(in s, dY + c, real, x, pitch, paddedWidth, offsets, to); break;
                }
                tap += count;
            }
        }
    }

    private static void Block<T, TTaps>(
        in ConvolutionShape s, float* dY, int channels, float* padded, int pitch, int paddedWidth, nint* offsets, float* sums)
        where T : struct, ILanes<T>
        where TTaps : struct, ICount
    {
        nint step = (nint)s.StrideX * pitch;
        for (int row = 0; row < s.OutputHeight; row++)
        {
            float* y = dY + ((nint)row * s.OutputWidth * s.Outputs);
            float* x = padded + ((nint)row * s.StrideY * paddedWidth * pitch);
            if (channels == 16) Row<T, TTaps, OneBlock>(y, s.Outputs, channels, x, step, s.OutputWidth, offsets, sums, pitch);
            else Row<T, TTaps, OnePartialBlock>(y, s.Outputs, channels, x, step, s.OutputWidth, offsets, sums, pitch);
        }
    }

    // One loop to a method, and whole blocks apart from partial ones, whose load may be a call: otherwise the JIT keeps
    // the sums on the stack.
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Row<T, TTaps, TColumns>(
        float* dY, nint pixel, int channels, float* x, nint step, int count, nint* offsets, float* sums, nint pitch)
        where T : struct, ILanes<T>
        where TTaps : struct, ICount
        where TColumns : struct, ITileColumns
    {
        T c0 = T.Load(sums);
        T c1 = TTaps.Count > 1 ? T.Load(sums + pitch) : T.Zero;
        T c2 = TTaps.Count > 2 ? T.Load(sums + (2 * pitch)) : T.Zero;
        T c3 = TTaps.Count > 3 ? T.Load(sums + (3 * pitch)) : T.Zero;
        T c4 = TTaps.Count > 4 ? T.Load(sums + (4 * pitch)) : T.Zero;
        float* x0 = x + offsets[0];
        float* x1 = x + offsets[1];
        float* x2 = x + offsets[2];
        float* x3 = x + offsets[3];
        float* x4 = x + offsets[4];
        nint at = 0;
        for (; count > 0; count--)
        {
            T y = TColumns.Partial ? T.LoadPartial(dY, channels) : T.Load(dY);
            c0 = T.Fma(T.Load(x0 + at), y, c0);
            if (TTaps.Count > 1) c1 = T.Fma(T.Load(x1 + at), y, c1);
            if (TTaps.Count > 2) c2 = T.Fma(T.Load(x2 + at), y, c2);
            if (TTaps.Count > 3) c3 = T.Fma(T.Load(x3 + at), y, c3);
            if (TTaps.Count > 4) c4 = T.Fma(T.Load(x4 + at), y, c4);
            dY += pixel;
            at += step;
        }
        T.Store(sums, c0);
        if (TTaps.Count > 1) T.Store(sums + pitch, c1);
        if (TTaps.Count > 2) T.Store(sums + (2 * pitch), c2);
        if (TTaps.Count > 3) T.Store(sums + (3 * pitch), c3);
        if (TTaps.Count > 4) T.Store(sums + (4 * pitch), c4);
    }
}
