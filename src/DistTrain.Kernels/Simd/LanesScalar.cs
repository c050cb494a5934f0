using System.Runtime.CompilerServices;

namespace DistTrain.Kernels;

/// <summary>Sixteen lanes as sixteen floats: plain arithmetic, for processors without vectors and as the oracle of the others.</summary>
[InlineArray(16)]
internal unsafe struct LanesScalar : ILanes<LanesScalar>
{
    private float _lane0;

    public static int TileRows => 1;

    public static int TileBlocks => 1;

    public static LanesScalar Zero => default;

    public static LanesScalar Broadcast(float value)
    {
        LanesScalar r = default;
        for (int i = 0; i < 16; i++) r[i] = value;
        return r;
    }

    public static LanesScalar BroadcastBits(int value) => Broadcast(BitConverter.Int32BitsToSingle(value));

    public static LanesScalar BroadcastFrom(float* source) => Broadcast(*source);

    public static LanesScalar Load(float* source) => Unsafe.ReadUnaligned<LanesScalar>(source);

    public static void Store(float* target, LanesScalar value) => Unsafe.WriteUnaligned(target, value);

    public static LanesScalar LoadPartial(float* source, int count)
    {
        LanesScalar r = default;
        for (int i = 0; i < count; i++) r[i] = source[i];
        return r;
    }

    public static void StorePartial(float* target, LanesScalar value, int count)
    {
        for (int i = 0; i < count; i++) target[i] = value[i];
    }

    public static void StoreStreaming(float* target, LanesScalar value) => Store(target, value);

    public static LanesScalar LoadUInt16(ushort* source)
    {
        // Stored as integers: the JIT takes a ushort that is reinterpreted as a float for a load of four bytes.
        LanesScalar r = default;
        for (int i = 0; i < 16; i++) ((int*)&r)[i] = source[i];
        return r;
    }

    public static void StoreUInt16(ushort* target, LanesScalar value)
    {
        for (int i = 0; i < 16; i++) target[i] = (ushort)Bits(value[i]);
    }

    public static LanesScalar LoadInt8(sbyte* source)
    {
        LanesScalar r = default;
        for (int i = 0; i < 16; i++) ((int*)&r)[i] = source[i];
        return r;
    }

    public static void StoreInt8(sbyte* target, LanesScalar value)
    {
        for (int i = 0; i < 16; i++) target[i] = (sbyte)Bits(value[i]);
    }

    public static void LoadColumns(
        float* source, nint stride, int rows, out LanesScalar c0, out LanesScalar c1, out LanesScalar c2, out LanesScalar c3)
    {
        c0 = c1 = c2 = c3 = default;
        for (int i = 0; i < rows; i++)
        {
            c0[i] = source[i * stride];
            c1[i] = source[(i * stride) + 1];
            c2[i] = source[(i * stride) + 2];
            c3[i] = source[(i * stride) + 3];
        }
    }

    public static LanesScalar operator +(LanesScalar a, LanesScalar b)
    {
        for (int i = 0; i < 16; i++) a[i] += b[i];
        return a;
    }

    public static LanesScalar operator -(LanesScalar a, LanesScalar b)
    {
        for (int i = 0; i < 16; i++) a[i] -= b[i];
        return a;
    }

    public static LanesScalar operator *(LanesScalar a, LanesScalar b)
    {
        for (int i = 0; i < 16; i++) a[i] *= b[i];
        return a;
    }

    public static LanesScalar operator /(LanesScalar a, LanesScalar b)
    {
        for (int i = 0; i < 16; i++) a[i] /= b[i];
        return a;
    }

    public static LanesScalar Fma(LanesScalar a, LanesScalar b, LanesScalar c)
    {
        for (int i = 0; i < 16; i++) a[i] = MathF.FusedMultiplyAdd(a[i], b[i], c[i]);
        return a;
    }

    public static LanesScalar Sqrt(LanesScalar a)
    {
        for (int i = 0; i < 16; i++) a[i] = MathF.Sqrt(a[i]);
        return a;
    }

    public static LanesScalar Max(LanesScalar a, LanesScalar b)
    {
        for (int i = 0; i < 16; i++) a[i] = MathF.Max(a[i], b[i]);
        return a;
    }

    public static LanesScalar Lesser(LanesScalar a, LanesScalar b)
    {
        for (int i = 0; i < 16; i++) a[i] = a[i] < b[i] ? a[i] : b[i];
        return a;
    }

    public static LanesScalar Greater(LanesScalar a, LanesScalar b)
    {
        for (int i = 0; i < 16; i++) a[i] = a[i] > b[i] ? a[i] : b[i];
        return a;
    }

    public static LanesScalar LessThan(LanesScalar a, LanesScalar b)
    {
        for (int i = 0; i < 16; i++) a[i] = Mask(a[i] < b[i]);
        return a;
    }

    public static LanesScalar Equal(LanesScalar a, LanesScalar b)
    {
        for (int i = 0; i < 16; i++) a[i] = Mask(a[i] == b[i]);
        return a;
    }

    public static LanesScalar Select(LanesScalar mask, LanesScalar a, LanesScalar b)
    {
        for (int i = 0; i < 16; i++) a[i] = Bits(mask[i]) != 0 ? a[i] : b[i];
        return a;
    }

    public static LanesScalar And(LanesScalar a, LanesScalar b)
    {
        for (int i = 0; i < 16; i++) a[i] = Float(Bits(a[i]) & Bits(b[i]));
        return a;
    }

    public static LanesScalar Or(LanesScalar a, LanesScalar b)
    {
        for (int i = 0; i < 16; i++) a[i] = Float(Bits(a[i]) | Bits(b[i]));
        return a;
    }

    public static LanesScalar Xor(LanesScalar a, LanesScalar b)
    {
        for (int i = 0; i < 16; i++) a[i] = Float(Bits(a[i]) ^ Bits(b[i]));
        return a;
    }

    public static LanesScalar AddBits(LanesScalar a, LanesScalar b)
    {
        for (int i = 0; i < 16; i++) a[i] = Float(Bits(a[i]) + Bits(b[i]));
        return a;
    }

    public static LanesScalar SubtractBits(LanesScalar a, LanesScalar b)
    {
        for (int i = 0; i < 16; i++) a[i] = Float(Bits(a[i]) - Bits(b[i]));
        return a;
    }

    public static LanesScalar ShiftLeft(LanesScalar a, int count)
    {
        for (int i = 0; i < 16; i++) a[i] = Float(Bits(a[i]) << count);
        return a;
    }

    public static LanesScalar ShiftRightArithmetic(LanesScalar a, int count)
    {
        for (int i = 0; i < 16; i++) a[i] = Float(Bits(a[i]) >> count);
        return a;
    }

    public static LanesScalar BitsToFloat(LanesScalar a)
    {
        for (int i = 0; i < 16; i++) a[i] = Bits(a[i]);
        return a;
    }

    public static LanesScalar TimesPowerOfTwo(LanesScalar a, LanesScalar n) => PowersOfTwo.Multiply(a, n);

    public static LanesScalar Lookup(float* table, LanesScalar index)
    {
        for (int i = 0; i < 16; i++) index[i] = table[Bits(index[i]) & 15];
        return index;
    }

    public static LanesScalar FirstLanes(int count)
    {
        LanesScalar r = default;
        for (int i = 0; i < 16; i++) r[i] = Mask(i < count);
        return r;
    }

    public static float First(LanesScalar a) => a[0];

    public static float Sum(LanesScalar a)
    {
        for (int half = 8; half > 0; half /= 2)
            for (int i = 0; i < half; i++)
                a[i] += a[i + half];
        return a[0];
    }

    public static LanesScalar SumInAll(LanesScalar a) => Broadcast(Sum(a));

    public static LanesScalar LargestInAll(LanesScalar a) => Broadcast(MaxOf(a));

    public static float MaxOf(LanesScalar a)
    {
        for (int half = 8; half > 0; half /= 2)
            for (int i = 0; i < half; i++)
                a[i] = MathF.Max(a[i], a[i + half]);
        return a[0];
    }

    private static float Mask(bool set) => Float(set ? -1 : 0);

    private static int Bits(float value) => BitConverter.SingleToInt32Bits(value);

    private static float Float(int bits) => BitConverter.Int32BitsToSingle(bits);
}
