using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace DistTrain.Kernels;

/// <summary>
/// Dropout (Srivastava et al., 2014) of (rows, width) arrays: a value is kept where its 24 random bits are not below
/// rate·2^24, and then multiplied by 1 / (1 - rate) rounded to fp32; else it is +0. The random number of a value is that of
/// (seed, purpose, step) and element position·(32·words) + column, words = ⌈width / 32⌉, position being the row's place in
/// the mini-batch. Masks are bits, (rows, words), the lowest bit first.
/// </summary>
public static unsafe class Dropout
{
    private const int GrainWords = 256;

    // Constant data of the assembly, which the collector does not move.
    private static ReadOnlySpan<int> Bits => [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768];

    /// <summary>Words of a row's mask.</summary>
    public static nint MaskWords(nint width) => (width + 31) / 32;

    /// <summary>Draws the masks of consecutive rows and applies them.</summary>
    /// <param name="random">Seed and purpose.</param>
    /// <param name="step">The training step.</param>
    /// <param name="position">The first row's place in the mini-batch.</param>
    /// <param name="x">(rows, width).</param>
    /// <param name="rows">How many rows.</param>
    /// <param name="width">Values of a row.</param>
    /// <param name="rate">The probability of 0, from 0 to below 1.</param>
    /// <param name="y">(rows, width); may be x.</param>
    /// <param name="masks">(rows, words): overwritten.</param>
    /// <param name="pool">Null for the caller alone.</param>
    public static void Forward(
        in KeyedRandom random, ulong step, ulong position, float* x, nint rows, nint width, float rate, float* y, uint* masks, KernelPool? pool = null)
    {
        Check(x, rows, width, rate, y, masks);
        ulong first = checked(position * (ulong)MaskWords(width) * 8);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(first + ((ulong)rows * (ulong)MaskWords(width) * 8), 1UL << 32, nameof(position));
        var kernel = new Kernel(x, y, masks, width, rate) { Draws = true, Random = random, Step = step, FirstBlock = first };
        RangeRunner.Run(kernel, rows * MaskWords(width), 1, GrainWords, pool);
    }

    /// <summary>y = x / (1 - rate) where the mask has a bit, else +0: the way back, from dy to dx.</summary>
    /// <param name="masks">(rows, words).</param>
    /// <param name="x">(rows, width).</param>
    /// <param name="rows">How many rows.</param>
    /// <param name="width">Values of a row.</param>
    /// <param name="rate">As in <see cref="Forward"/>.</param>
    /// <param name="y">(rows, width); may be x.</param>
    /// <param name="pool">Null for the caller alone.</param>
    public static void Apply(uint* masks, float* x, nint rows, nint width, float rate, float* y, KernelPool? pool = null)
    {
        Check(x, rows, width, rate, y, masks);
        RangeRunner.Run(new Kernel(x, y, masks, width, rate), rows * MaskWords(width), 1, 4 * GrainWords, pool);
    }

    /// <summary>What a value's 24 random bits have to reach.</summary>
    internal static uint Threshold(float rate) => (uint)Math.Ceiling((double)rate * (1 << 24));

    /// <summary>32 values' mask, the lowest bit first: that of eight random blocks from <paramref name="block"/> on.</summary>
    internal static uint Draw<T>(in KeyedRandom random, ulong step, ulong block, uint threshold)
        where T : struct, ILanes<T>
    {
        if (typeof(T) == typeof(Lanes512)) return PhiloxLanes.Wide(random, step, (uint)block, threshold);
        if (typeof(T) == typeof(Lanes256))
        {
            return PhiloxLanes.Narrow(random, step, (uint)block, threshold) | (PhiloxLanes.Narrow(random, step, (uint)block + 4, threshold) << 16);
        }
        uint mask = 0;
        for (int i = 0; i < 8; i++)
        {
            KeyedRandom.Words w = random.Block(step, block + (ulong)i);
            uint four = Kept(w.A) | (Kept(w.B) << 1) | (Kept(w.C) << 2) | (Kept(w.D) << 3);
            mask |= four << (4 * i);
        }
        return mask;

        uint Kept(uint bits) => (bits >> 8) >= threshold ? 1u : 0u;
    }

    /// <summary>+0 in lanes whose bit is clear: (mask and bit) - bit is 0 or negative.</summary>
    internal static T Where<T>(uint mask, T value)
        where T : struct, ILanes<T>
    {
        T bits = T.Load((float*)Unsafe.AsPointer(ref MemoryMarshal.GetReference(Bits)));
        T clear = T.ShiftRightArithmetic(T.SubtractBits(T.And(T.BroadcastBits((int)mask), bits), bits), 31);
        return T.Select(clear, T.Zero, value);
    }

    private static void Check(float* x, nint rows, nint width, float rate, float* y, uint* masks)
    {
        Guard.Length(rows, nameof(rows));
        Guard.Length(width, nameof(width));
        Guard.NotNull(x, rows * width, nameof(x));
        Guard.NotNull(y, rows * width, nameof(y));
        Guard.NotNull(masks, rows * width, nameof(masks));
        Guard.SameOrApart(y, x, rows * width);
        if (!(rate >= 0 && rate < 1)) throw new ArgumentOutOfRangeException(nameof(rate), rate, "The rate must be from 0 to below 1.");
    }

    /// <summary>Items are words of the masks.</summary>
    private struct Kernel(float* x, float* y, uint* masks, nint width, float rate) : IRangeKernel
    {
        public bool Draws;
        public KeyedRandom Random;
        public ulong Step;
        public ulong FirstBlock;
        private readonly uint _threshold = Threshold(rate);
        private readonly float _scale = 1 / (1 - rate);

        public readonly void Run<T>(nint begin, nint end)
            where T : struct, ILanes<T>
        {
            nint words = MaskWords(width);
            for (nint item = begin; item < end; item++)
            {
                if (Draws) masks[item] = Draw<T>(in Random, Step, FirstBlock + ((ulong)item * 8), _threshold);
                nint row = item / words, column = (item - (row * words)) * 32;
                nint at = (row * width) + column;
                Values<T>(masks[item], x + at, y + at, (int)Math.Min(32, width - column));
            }
        }

        private readonly void Values<T>(uint mask, float* source, float* target, int count)
            where T : struct, ILanes<T>
        {
            T scale = T.Broadcast(_scale);
            int i = 0;
            for (; i <= count - 16; i += 16) T.Store(target + i, Where(mask >> i, T.Load(source + i) * scale));
            if (i < count) T.StorePartial(target + i, Where(mask >> i, T.LoadPartial(source + i, count - i) * scale), count - i);
        }
    }
}
