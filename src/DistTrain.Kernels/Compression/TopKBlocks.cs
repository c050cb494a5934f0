namespace DistTrain.Kernels;

/// <summary>
/// The largest values of each block, and error feedback for the others (A. Aji and K. Heafield 2017, S. Stich et al. 2018): of
/// y = x + held back, a block of n values sends the ⌈fraction·n⌉ of largest |y|, of equal ones those of lower index, and
/// holds the others back. Infinities and NaN count as equal and largest, so they are never held back.
/// </summary>
/// <remarks>Packed, a block is its k values, ascending by index, then their 16-bit indices, filled up to a whole word of four bytes.</remarks>
public static unsafe class TopKBlocks
{
    /// <summary>Values of a block; the last one of a tensor may be shorter.</summary>
    public const int Block = 4096;

    private const int Infinity = 0x7F800000;

    /// <summary>How many values of a block of so many are sent.</summary>
    public static int Count(double fraction, int length) => (int)Math.Ceiling(fraction * length);

    /// <summary>Words of four bytes that (length) values, from the start of a block, are packed into.</summary>
    public static long Words(double fraction, long length) =>
        (length / Block * BlockWords(fraction, Block)) + BlockWords(fraction, (int)(length % Block));

    /// <summary>Chooses and packs.</summary>
    /// <param name="fraction">Which share is sent, above 0 to 1.</param>
    /// <param name="x">(length), from the start of a block.</param>
    /// <param name="heldBack">(length): what was held back before; updated.</param>
    /// <param name="length">How many values.</param>
    /// <param name="packed">(<see cref="Words"/>): overwritten.</param>
    /// <param name="pool">Null for the caller alone.</param>
    public static void Select(double fraction, float* x, float* heldBack, nint length, void* packed, KernelPool? pool = null)
    {
        Check(fraction, x, length, packed);
        Guard.NotNull(heldBack, length, nameof(heldBack));
        Guard.Apart(x, length, heldBack, length);
        Guard.BytesApart(heldBack, length * sizeof(float), packed, (nint)Words(fraction, length) * sizeof(float));
        RangeRunner.Run(
            new Kernel { Fraction = fraction, X = x, HeldBack = heldBack, Length = length, Packed = (uint*)packed },
            (length + Block - 1) / Block, 1, Traversal.Grain / Block, pool);
    }

    /// <summary>Unpacks, with +0 where nothing was sent; false where an index lies outside its block.</summary>
    /// <param name="fraction">As it was packed with.</param>
    /// <param name="packed">(<see cref="Words"/>).</param>
    /// <param name="x">(length): overwritten.</param>
    /// <param name="length">How many values.</param>
    public static bool Expand(double fraction, void* packed, float* x, nint length)
    {
        Check(fraction, x, length, packed);
        new Span<byte>(x, checked((int)length * sizeof(float))).Clear();
        uint* record = (uint*)packed;
        for (nint start = 0; start < length; start += Block)
        {
            int count = (int)Math.Min(Block, length - start), sent = Count(fraction, count);
            float* values = (float*)record;
            ushort* indices = (ushort*)(record + sent);
            for (int i = 0; i < sent; i++)
            {
                int index = indices[i];
                if (index >= count) return false;
                x[start + index] = values[i];
            }

            record += BlockWords(fraction, count);
        }

        return true;
    }

    private static int BlockWords(double fraction, int length) => Count(fraction, length) is var k ? k + ((k + 1) / 2) : 0;

    private static void Check(double fraction, float* x, nint length, void* packed)
    {
        Guard.Length(length, nameof(length));
        Guard.NotNull(x, length, nameof(x));
        Guard.NotNull(packed, length, nameof(packed));
        Guard.BytesApart(x, length * sizeof(float), packed, (nint)Words(fraction, length) * sizeof(float));
        if (!(fraction > 0 && fraction <= 1)) throw new ArgumentOutOfRangeException(nameof(fraction), fraction, "The fraction must be above 0 and at most 1.");
    }

    /// <summary>
    /// Items are blocks. As many groups of 16 hold a value of some size as values are sent: then no smaller value is, and only what
    /// these groups hold is looked at.
    /// </summary>
    private struct Kernel : IRangeKernel
    {
        public double Fraction;
        public float* X;
        public float* HeldBack;
        public nint Length;
        public uint* Packed;

        public readonly void Run<T>(nint begin, nint end)
            where T : struct, ILanes<T>
        {
            float* sizes = Workspace.Get((3 * Block) + (Block / 16));
            float* candidates = sizes + Block, groups = candidates + Block;
            int* places = (int*)(groups + (Block / 16));
            for (nint block = begin; block < end; block++)
            {
                int count = (int)Math.Min(Block, Length - (block * Block)), sent = Count(Fraction, count);
                float* y = HeldBack + (block * Block);
                int largest = Add<T>(X + (block * Block), y, sizes, groups, count);
                int floor = sent <= (count + 15) / 16 ? Least<T>(groups, (count + 15) / 16, sent, largest).Bits : 0;
                int found = Candidates((int*)sizes, (int*)groups, count, floor, (int*)candidates, places);
                (int least, int atLeast) = Least<T>(candidates, found, sent, largest);
                // Of those that are as large as the least one sent, only the first ones are, where there are too many.
                int ofLeast = atLeast == sent ? sent : sent - (found - Below<T>(candidates, found, least + 1));
                Take((float*)(Packed + (block * BlockWords(Fraction, Block))), y, (int*)candidates, places, found, sent, least, ofLeast);
            }
        }

        // y += x, sizes = |y|, groups = the largest of each 16; the bits of the largest of all.
        private static int Add<T>(float* x, float* y, float* sizes, float* groups, int count)
            where T : struct, ILanes<T>
        {
            T magnitude = T.BroadcastBits(0x7FFFFFFF), infinity = T.BroadcastBits(Infinity), most = T.Zero;
            for (int i = 0; i < count; i += 16)
            {
                int left = count - i;
                T sum = left >= 16 ? T.Load(x + i) + T.Load(y + i) : T.LoadPartial(x + i, left) + T.LoadPartial(y + i, left);
                T size = T.Select(T.Equal(sum, sum), T.And(sum, magnitude), infinity);
                most = T.Greater(size, most);
                T.Store(sizes + i, size);
                groups[i / 16] = T.First(T.LargestInAll(size));
                if (left >= 16) T.Store(y + i, sum);
                else T.StorePartial(y + i, sum, left);
            }

            return BitConverter.SingleToInt32Bits(T.First(T.LargestInAll(most)));
        }

        // Sizes of at least so many bits, and where they stand, ascending.
        private static int Candidates(int* sizes, int* groups, int count, int floor, int* candidates, int* places)
        {
            int found = 0;
            for (int group = 0; group * 16 < count; group++)
            {
                if (groups[group] < floor) continue;
                int end = Math.Min((group + 1) * 16, count);
                for (int i = group * 16; i < end; i++)
                {
                    (candidates[found], places[found]) = (sizes[i], i);
                    found += sizes[i] >= floor ? 1 : 0;
                }
            }

            return found;
        }

        // The largest bits that at least so many sizes reach, and how many do, by halving; fewer halvings where exactly as many do.
        private static (int Bits, int AtLeast) Least<T>(float* sizes, int count, int wanted, int largest)
            where T : struct, ILanes<T>
        {
            int low = 0, high = largest + 1, atLeast = count;
            while (high - low > 1 && atLeast != wanted)
            {
                int middle = low + ((high - low) / 2);
                int reach = count - Below<T>(sizes, count, middle);
                if (reach >= wanted) (low, atLeast) = (middle, reach);
                else high = middle;
            }

            return (low, atLeast);
        }

        // How many of the sizes are below one that is given by its bits: all of them above infinity.
        private static int Below<T>(float* sizes, int count, int bits)
            where T : struct, ILanes<T>
        {
            if (bits > Infinity) return count;
            T limit = T.BroadcastBits(bits), below = T.Zero;
            int i = 0;
            // A comparison gives -1 as an integer.
            for (; i <= count - 16; i += 16) below = T.SubtractBits(below, T.LessThan(T.Load(sizes + i), limit));
            if (i < count) below = T.SubtractBits(below, T.And(T.FirstLanes(count - i), T.LessThan(T.Load(sizes + i), limit)));
            return (int)T.Sum(T.BitsToFloat(below));
        }

        private static void Take(float* values, float* y, int* candidates, int* places, int found, int sent, int least, int ofLeast)
        {
            ushort* indices = (ushort*)(values + sent);
            int k = 0;
            for (int c = 0; c < found && k < sent; c++)
            {
                if (candidates[c] < least || (candidates[c] == least && ofLeast-- <= 0)) continue;
                int i = places[c];
                (values[k], indices[k]) = (y[i], (ushort)i);
                y[i] = 0;
                k++;
            }

            if ((sent & 1) != 0) indices[sent] = 0;
        }
    }
}
