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
                    CopyChannels(in s, p.X + (example * s.InputLength) + first, channels, pitch, paddedRows, paddedWidth, padded);
                    Image<T>(in s, p.DY + (example * s.OutputLength) + first, channels, padded, pitch, paddedWidth, top);
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
        int most = T.TileBlocks > 1 ? 9 : 4;
        nint* offsets = stackalloc nint[9];
        for (int c = 0; c < channels; c += 16)
        {
            int real = Math.Min(16, channels - c);
            for (int tap = 0; tap < s.Taps;)
            {
                int count = s.Taps - tap >= most ? most : s.Taps - tap >= 3 ? 3 : 1;
                for (int i = 0; i < count; i++)
                {
                    int ky = (tap + i) / s.KernelWidth, kx = (tap + i) % s.KernelWidth;
                    offsets[i] = (((nint)ky * s.DilationY * paddedWidth) + (kx * s.DilationX)) * pitch;
                }
                float* x = padded + c;
                float* to = sums + ((nint)tap * pitch) + c;
                switch (count)
                {
                    case 9: Taps<T, Rows9>(in s, dY + c, real, x, pitch, paddedWidth, offsets, to); break;
                    case 4: Taps<T, Rows4>(in s, dY + c, real, x, pitch, paddedWidth, offsets, to); break;
                    case 3: Taps<T, Rows3>(in s, dY + c, real, x, pitch, paddedWidth, offsets, to); break;
                    default: Taps<T, Rows1>(in s, dY + c, real, x, pitch, paddedWidth, offsets, to); break;
                }
                tap += count;
            }
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Taps<T, TTaps>(
        in ConvolutionShape s, float* dY, int channels, float* padded, int pitch, int paddedWidth, nint* offsets, float* sums)
        where T : struct, ILanes<T>
        where TTaps : struct, ICount
    {
        T c0 = T.Load(sums);
        T c1 = TTaps.Count > 1 ? T.Load(sums + pitch) : c0;
        T c2 = TTaps.Count > 2 ? T.Load(sums + (2 * pitch)) : c0;
        T c3 = TTaps.Count > 3 ? T.Load(sums + (3 * pitch)) : c0;
        T c4 = TTaps.Count > 4 ? T.Load(sums + (4 * pitch)) : c0;
        T c5 = TTaps.Count > 5 ? T.Load(sums + (5 * pitch)) : c0;
        T c6 = TTaps.Count > 6 ? T.Load(sums + (6 * pitch)) : c0;
        T c7 = TTaps.Count > 7 ? T.Load(sums + (7 * pitch)) : c0;
        T c8 = TTaps.Count > 8 ? T.Load(sums + (8 * pitch)) : c0;
        nint o0 = offsets[0], o1 = offsets[1], o2 = offsets[2], o3 = offsets[3], o4 = offsets[4];
        nint o5 = offsets[5], o6 = offsets[6], o7 = offsets[7], o8 = offsets[8];
        nint step = (nint)s.StrideX * pitch;
        nint pixel = s.Outputs;
        int width = s.OutputWidth;
        for (int row = s.OutputHeight; row > 0; row--, padded += (nint)s.StrideY * paddedWidth * pitch)
        {
            float* x = padded;
            for (int left = width; left > 0; left--, x += step, dY += pixel)
            {
                T y = channels == 16 ? T.Load(dY) : T.LoadPartial(dY, channels);
                c0 = T.Fma(T.Load(x + o0), y, c0);
                if (TTaps.Count > 1) c1 = T.Fma(T.Load(x + o1), y, c1);
                if (TTaps.Count > 2) c2 = T.Fma(T.Load(x + o2), y, c2);
                if (TTaps.Count > 3) c3 = T.Fma(T.Load(x + o3), y, c3);
                if (TTaps.Count > 4) c4 = T.Fma(T.Load(x + o4), y, c4);
                if (TTaps.Count > 5) c5 = T.Fma(T.Load(x + o5), y, c5);
                if (TTaps.Count > 6) c6 = T.Fma(T.Load(x + o6), y, c6);
                if (TTaps.Count > 7) c7 = T.Fma(T.Load(x + o7), y, c7);
                if (TTaps.Count > 8) c8 = T.Fma(T.Load(x + o8), y, c8);
            }
        }
        T.Store(sums, c0);
        if (TTaps.Count > 1) T.Store(sums + pitch, c1);
        if (TTaps.Count > 2) T.Store(sums + (2 * pitch), c2);
        if (TTaps.Count > 3) T.Store(sums + (3 * pitch), c3);
        if (TTaps.Count > 4) T.Store(sums + (4 * pitch), c4);
        if (TTaps.Count > 5) T.Store(sums + (5 * pitch), c5);
        if (TTaps.Count > 6) T.Store(sums + (6 * pitch), c6);
        if (TTaps.Count > 7) T.Store(sums + (7 * pitch), c7);
        if (TTaps.Count > 8) T.Store(sums + (8 * pitch), c8);
    }
}
