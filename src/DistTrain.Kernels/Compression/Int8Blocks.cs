using System.Runtime.CompilerServices;

namespace DistTrain.Kernels;

/// <summary>
/// Values in 8 bits (D. Alistarh et al. 2017, "QSGD"): blocks of <see cref="Block"/> values, each with a scale
/// s = max|x| / 127 and integers q with x ≈ q·s. Rounding is stochastic, so that its mean is x: q = x / s rounded up with the
/// probability of its fraction. A value that is 0 stays 0. A block that holds an infinity or NaN becomes all NaN.
/// </summary>
/// <remarks>
/// Per value, all in fp32: t = (x·p)·(127 / (max·p)), p being 2^64 for max below 2^-60 and else 1, cut to [-127, 127]; q is
/// t + r rounded to the nearest integer, ties to even, r = (h + ½) / 2^16 - ½. h is 16 random bits: of value i in its block, with
/// g = i / 64, v = i mod 64 / 16 and l = i mod 16, the (v mod 2)-th half, lower first, of word 2·(v / 2) + l mod 2 of random block
/// 512·b + 8·g + l / 2, b being the block's number.
/// Packed, a block is its scale and then its integers, filled up with zeros to whole words of four bytes.
/// </remarks>
public static unsafe class Int8Blocks
{
    /// <summary>Values of a block; the last one of a tensor may be shorter.</summary>
    public const int Block = 4096;

    /// <summary>The most blocks that random numbers can tell apart.</summary>
    public const uint MostBlocks = uint.MaxValue / RandomBlocks;

    private const int RandomBlocks = Block / 8;
    private const int Group = 128;
    private const float Magic = 12582912;   // 1.5 · 2^23: a sum with it is a rounded integer in its low bits

    /// <summary>Words of four bytes that (length) values are packed into.</summary>
    public static long Words(long length) => ((length + Block - 1) / Block) + (length / Block * (Block / 4)) + (((length % Block) + 3) / 4);

    /// <summary>Rounds and packs.</summary>
    /// <param name="random">Seed and purpose.</param>
    /// <param name="step">The training step.</param>
    /// <param name="firstBlock">The number of the first block.</param>
    /// <param name="x">(length), from the start of a block.</param>
    /// <param name="length">How many values.</param>
    /// <param name="packed">(<see cref="Words"/>): overwritten.</param>
    /// <param name="pool">Null for the caller alone.</param>
    public static void Quantise(in KeyedRandom random, ulong step, uint firstBlock, float* x, nint length, void* packed, KernelPool? pool = null)
    {
        Check(x, length, packed, firstBlock);
        Run(new Kernel { Random = random, Step = step, FirstBlock = firstBlock, X = x, Length = length, Packed = (byte*)packed }, length, pool);
    }

    /// <summary>x becomes what <see cref="Quantise"/> and <see cref="Dequantise"/> would make of it.</summary>
    /// <param name="random">Seed and purpose.</param>
    /// <param name="step">The training step.</param>
    /// <param name="firstBlock">The number of the first block.</param>
    /// <param name="x">(length), from the start of a block: updated.</param>
    /// <param name="length">How many values.</param>
    /// <param name="pool">Null for the caller alone.</param>
    public static void Round(in KeyedRandom random, ulong step, uint firstBlock, float* x, nint length, KernelPool? pool = null)
    {
        Check(x, length, null, firstBlock);
        Run(new Kernel { Random = random, Step = step, FirstBlock = firstBlock, X = x, Length = length }, length, pool);
    }

    /// <summary>Unpacks.</summary>
    /// <param name="packed">(<see cref="Words"/>).</param>
    /// <param name="x">(length): overwritten.</param>
    /// <param name="length">How many values.</param>
    /// <param name="pool">Null for the caller alone.</param>
    public static void Dequantise(void* packed, float* x, nint length, KernelPool? pool = null)
    {
        Check(x, length, packed, 0);
        Run(new Unpacking { X = x, Length = length, Packed = (byte*)packed }, length, pool);
    }

    private static void Run<TKernel>(TKernel kernel, nint length, KernelPool? pool)
        where TKernel : unmanaged, IRangeKernel => RangeRunner.Run(kernel, (length + Block - 1) / Block, 1, Traversal.Grain / Block, pool);

    private static void Check(float* x, nint length, void* packed, uint firstBlock)
    {
        Guard.Length(length, nameof(length));
        Guard.NotNull(x, length, nameof(x));
        Guard.BytesApart(x, length * sizeof(float), packed, (nint)Words(length) * sizeof(float));
        ArgumentOutOfRangeException.ThrowIfGreaterThan((ulong)firstBlock + (ulong)((length + Block - 1) / Block), MostBlocks, nameof(firstBlock));
    }

    /// <summary>Items are blocks. Without a place for packed ones the values are rounded where they are.</summary>
    private struct Kernel : IRangeKernel
    {
        public KeyedRandom Random;
        public ulong Step;
        public uint FirstBlock;
        public float* X;
        public nint Length;
        public byte* Packed;

        public readonly void Run<T>(nint begin, nint end)
            where T : struct, ILanes<T>
        {
            for (nint block = begin; block < end; block++)
            {
                float* x = X + (block * Block);
                int count = (int)Math.Min(Block, Length - (block * Block));
                (float most, bool finite) = Largest<T>(x, count);
                float scale = finite ? most / 127 : float.NaN;
                sbyte* packed = null;
                if (Packed != null)
                {
                    byte* record = Packed + (block * (sizeof(float) + Block));
                    *(float*)record = scale;
                    packed = (sbyte*)record + sizeof(float);
                    for (int i = count; i % 4 != 0; i++) packed[i] = 0;
                }

                if (finite && most > 0) Values<T>(x, count, most, scale, packed, (FirstBlock + (uint)block) * RandomBlocks);
                else if (packed != null) new Span<sbyte>(packed, count).Clear();
                else new Span<float>(x, count).Fill(0 * scale);
            }
        }

        private static (float Most, bool Finite) Largest<T>(float* x, int count)
            where T : struct, ILanes<T>
        {
            T size = T.BroadcastBits(0x7FFFFFFF), most = T.Zero, odd = T.Zero;
            int i = 0;
            for (; i <= count - 16; i += 16)
            {
                T v = T.Load(x + i);
                // A NaN is never greater; but 0 times it, or an infinity, is NaN.
                most = T.Greater(T.And(v, size), most);
                odd = T.Fma(v, T.Zero, odd);
            }

            if (i < count)
            {
                T v = T.LoadPartial(x + i, count - i);
                most = T.Greater(T.And(v, size), most);
                odd = T.Fma(v, T.Zero, odd);
            }

            return (T.First(T.LargestInAll(most)), T.Sum(odd) == 0);
        }

        private readonly void Values<T>(float* x, int count, float most, float scale, sbyte* packed, uint randomBlock)
            where T : struct, ILanes<T>
        {
            float small = most < PowersOfTwo60 ? PowersOfTwo64 : 1;
            float inverse = 127 / (most * small);
            uint* words = stackalloc uint[PhiloxWords.Count];
            float* rest = stackalloc float[16];
            for (int group = 0; group < count; group += Group)
            {
                PhiloxWords.Fill<T>(Random, Step, randomBlock + ((uint)group / 8), words);
                for (int v = 0; v < 8; v++)
                {
                    int at = group + (16 * v), left = count - at;
                    if (left <= 0) break;
                    T bits = T.Load((float*)words + (16 * (v >> 1)));
                    if ((v & 1) != 0) bits = T.ShiftRightArithmetic(bits, 16);
                    T sum = Rounded(left >= 16 ? T.Load(x + at) : T.LoadPartial(x + at, left), bits, small, inverse);
                    if (packed == null)
                    {
                        T value = (sum - T.Broadcast(Magic)) * T.Broadcast(scale);
                        if (left >= 16) T.Store(x + at, value);
                        else T.StorePartial(x + at, value, left);
                    }
                    else if (left >= 16)
                    {
                        T.StoreInt8(packed + at, T.SubtractBits(sum, T.Broadcast(Magic)));
                    }
                    else
                    {
                        T.StoreInt8((sbyte*)rest, T.SubtractBits(sum, T.Broadcast(Magic)));
                        new Span<sbyte>(rest, left).CopyTo(new Span<sbyte>(packed + at, left));
                    }
                }
            }
        }

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        private static T Rounded<T>(T x, T bits, float small, float inverse)
            where T : struct, ILanes<T>
        {
            T t = (x * T.Broadcast(small)) * T.Broadcast(inverse);
            t = T.Greater(T.Lesser(t, T.Broadcast(127f)), T.Broadcast(-127f));
            T h = T.BitsToFloat(T.And(bits, T.BroadcastBits(0xFFFF)));
            T r = T.Fma(h, T.Broadcast(1f / 65536), T.Broadcast((0.5f / 65536) - 0.5f));
            return (t + r) + T.Broadcast(Magic);
        }

        private const float PowersOfTwo60 = 1f / (1L << 60);
        private const float PowersOfTwo64 = 16f * (1L << 60);
    }

    private struct Unpacking : IRangeKernel
    {
        public float* X;
        public nint Length;
        public byte* Packed;

        public readonly void Run<T>(nint begin, nint end)
            where T : struct, ILanes<T>
        {
            float* rest = stackalloc float[4];
            for (nint block = begin; block < end; block++)
            {
                float* x = X + (block * Block);
                int count = (int)Math.Min(Block, Length - (block * Block));
                byte* record = Packed + (block * (sizeof(float) + Block));
                T scale = T.Broadcast(*(float*)record);
                sbyte* q = (sbyte*)record + sizeof(float);
                int i = 0;
                for (; i <= count - 16; i += 16) T.Store(x + i, T.BitsToFloat(T.LoadInt8(q + i)) * scale);
                if (i == count) continue;
                new Span<sbyte>(q + i, count - i).CopyTo(new Span<sbyte>(rest, 16));
                T.StorePartial(x + i, T.BitsToFloat(T.LoadInt8((sbyte*)rest)) * scale, count - i);
            }
        }
    }
}
