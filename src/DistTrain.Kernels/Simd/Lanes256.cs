using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace DistTrain.Kernels;

/// <summary>Sixteen lanes in two 256-bit vectors.</summary>
internal readonly unsafe struct Lanes256(Vector256<float> a, Vector256<float> b) : ILanes<Lanes256>
{
    private readonly Vector256<float> _a = a;
    private readonly Vector256<float> _b = b;

    public static int TileRows => 6;

    public static int TileBlocks => 1;

    public static Lanes256 Zero => new(Vector256<float>.Zero, Vector256<float>.Zero);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes256 Broadcast(float value)
    {
        Vector256<float> v = Vector256.Create(value);
        return new(v, v);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes256 BroadcastBits(int value)
    {
        Vector256<float> v = Vector256.Create(value).AsSingle();
        return new(v, v);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes256 BroadcastFrom(float* source)
    {
        Vector256<float> v = Vector256.Create(*source);
        return new(v, v);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes256 Load(float* source) => new(Vector256.Load(source), Vector256.Load(source + 8));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Store(float* target, Lanes256 value)
    {
        value._a.Store(target);
        value._b.Store(target + 8);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes256 LoadPartial(float* source, int count) =>
        new(Avx.MaskLoad(source, Mask(count)), Avx.MaskLoad(source + 8, Mask(count - 8)));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void StorePartial(float* target, Lanes256 value, int count)
    {
        Avx.MaskStore(target, Mask(count), value._a);
        Avx.MaskStore(target + 8, Mask(count - 8), value._b);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void StoreStreaming(float* target, Lanes256 value)
    {
        value._a.StoreAlignedNonTemporal(target);
        value._b.StoreAlignedNonTemporal(target + 8);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes256 LoadUInt16(ushort* source) => new(
        Avx2.ConvertToVector256Int32(Vector128.Load(source)).AsSingle(),
        Avx2.ConvertToVector256Int32(Vector128.Load(source + 8)).AsSingle());

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void StoreUInt16(ushort* target, Lanes256 value) =>
        Vector256.Narrow(value._a.AsUInt32(), value._b.AsUInt32()).Store(target);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes256 LoadInt8(sbyte* source)
    {
        Vector128<sbyte> all = Vector128.Load(source);
        return new(
            Avx2.ConvertToVector256Int32(all).AsSingle(), Avx2.ConvertToVector256Int32(Vector128.Shuffle(all.AsInt64(), Vector128.Create(1L, 1L)).AsSByte()).AsSingle());
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void StoreInt8(sbyte* target, Lanes256 value)
    {
        Vector256<short> halves = Vector256.Narrow(value._a.AsInt32(), value._b.AsInt32());
        Vector128.Narrow(halves.GetLower(), halves.GetUpper()).Store(target);
    }

    // Rows i and i+4 share a register, so that two 4x4 transposes happen at once within its halves.
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void LoadColumns(
        float* source, nint stride, int rows, out Lanes256 c0, out Lanes256 c1, out Lanes256 c2, out Lanes256 c3)
    {
        Columns8(source, stride, rows, out var a0, out var a1, out var a2, out var a3);
        Vector256<float> b0 = default, b1 = default, b2 = default, b3 = default;
        if (rows > 8) Columns8(source + (8 * stride), stride, rows - 8, out b0, out b1, out b2, out b3);
        c0 = new(a0, b0);
        c1 = new(a1, b1);
        c2 = new(a2, b2);
        c3 = new(a3, b3);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes256 operator +(Lanes256 a, Lanes256 b) => new(a._a + b._a, a._b + b._b);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes256 operator -(Lanes256 a, Lanes256 b) => new(a._a - b._a, a._b - b._b);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes256 operator *(Lanes256 a, Lanes256 b) => new(a._a * b._a, a._b * b._b);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes256 operator /(Lanes256 a, Lanes256 b) => new(a._a / b._a, a._b / b._b);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes256 Fma(Lanes256 a, Lanes256 b, Lanes256 c) => new(
        Vector256.FusedMultiplyAdd(a._a, b._a, c._a),
        Vector256.FusedMultiplyAdd(a._b, b._b, c._b));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes256 Sqrt(Lanes256 a) => new(Vector256.Sqrt(a._a), Vector256.Sqrt(a._b));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes256 Max(Lanes256 a, Lanes256 b) => new(Vector256.Max(a._a, b._a), Vector256.Max(a._b, b._b));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes256 Lesser(Lanes256 a, Lanes256 b) => new(Avx.Min(a._a, b._a), Avx.Min(a._b, b._b));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes256 Greater(Lanes256 a, Lanes256 b) => new(Avx.Max(a._a, b._a), Avx.Max(a._b, b._b));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes256 LessThan(Lanes256 a, Lanes256 b) => new(
        Vector256.LessThan(a._a, b._a),
        Vector256.LessThan(a._b, b._b));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes256 Equal(Lanes256 a, Lanes256 b) => new(Vector256.Equals(a._a, b._a), Vector256.Equals(a._b, b._b));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes256 Select(Lanes256 mask, Lanes256 a, Lanes256 b) => new(
        Vector256.ConditionalSelect(mask._a, a._a, b._a),
        Vector256.ConditionalSelect(mask._b, a._b, b._b));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes256 And(Lanes256 a, Lanes256 b) => new(a._a & b._a, a._b & b._b);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes256 Or(Lanes256 a, Lanes256 b) => new(a._a | b._a, a._b | b._b);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes256 Xor(Lanes256 a, Lanes256 b) => new(a._a ^ b._a, a._b ^ b._b);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes256 AddBits(Lanes256 a, Lanes256 b) => new(
        (a._a.AsInt32() + b._a.AsInt32()).AsSingle(),
        (a._b.AsInt32() + b._b.AsInt32()).AsSingle());

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes256 SubtractBits(Lanes256 a, Lanes256 b) => new(
        (a._a.AsInt32() - b._a.AsInt32()).AsSingle(),
        (a._b.AsInt32() - b._b.AsInt32()).AsSingle());

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes256 ShiftLeft(Lanes256 a, int count) => new(
        (a._a.AsInt32() << count).AsSingle(),
        (a._b.AsInt32() << count).AsSingle());

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes256 ShiftRightArithmetic(Lanes256 a, int count) => new(
        (a._a.AsInt32() >> count).AsSingle(),
        (a._b.AsInt32() >> count).AsSingle());

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes256 BitsToFloat(Lanes256 a) => new(
        Vector256.ConvertToSingle(a._a.AsInt32()),
        Vector256.ConvertToSingle(a._b.AsInt32()));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes256 TimesPowerOfTwo(Lanes256 a, Lanes256 n) => PowersOfTwo.Multiply(a, n);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes256 Lookup(float* table, Lanes256 index)
    {
        Vector256<float> low = Vector256.Load(table);
        Vector256<float> high = Vector256.Load(table + 8);
        return new(Lookup8(low, high, index._a.AsInt32()), Lookup8(low, high, index._b.AsInt32()));
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes256 FirstLanes(int count) => new(Mask(count), Mask(count - 8));

    public static float First(Lanes256 a) => a._a.ToScalar();

    public static float Sum(Lanes256 a)
    {
        Vector256<float> eight = a._a + a._b;
        return Lanes128.Sum(eight.GetLower() + eight.GetUpper());
    }

    public static Lanes256 SumInAll(Lanes256 a) => Broadcast(Sum(a));

    public static Lanes256 LargestInAll(Lanes256 a) => Broadcast(MaxOf(a));

    public static float MaxOf(Lanes256 a)
    {
        Vector256<float> eight = Vector256.Max(a._a, a._b);
        return Lanes128.MaxOf(Vector128.Max(eight.GetLower(), eight.GetUpper()));
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Columns8(
        float* source, nint stride, int rows, out Vector256<float> c0, out Vector256<float> c1, out Vector256<float> c2, out Vector256<float> c3)
    {
        Vector256<float> a = Halves(source, stride, rows);
        Vector256<float> b = Halves(source + stride, stride, rows);
        Vector256<float> c = Halves(source + (2 * stride), stride, rows);
        Vector256<float> d = Halves(source + (3 * stride), stride, rows);
        Vector256<double> lowAB = Avx.UnpackLow(a, b).AsDouble();
        Vector256<double> highAB = Avx.UnpackHigh(a, b).AsDouble();
        Vector256<double> lowCD = Avx.UnpackLow(c, d).AsDouble();
        Vector256<double> highCD = Avx.UnpackHigh(c, d).AsDouble();
        c0 = Avx.UnpackLow(lowAB, lowCD).AsSingle();
        c1 = Avx.UnpackHigh(lowAB, lowCD).AsSingle();
        c2 = Avx.UnpackLow(highAB, highCD).AsSingle();
        c3 = Avx.UnpackHigh(highAB, highCD).AsSingle();
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector256<float> Halves(float* source, nint stride, int rows)
    {
        Vector256<float> v = Vector128.Load(source).ToVector256Unsafe();
        return rows > 4 ? v.WithUpper(Vector128.Load(source + (4 * stride))) : v;
    }

    // The index's bit 3, moved to the sign, chooses between the table's halves.
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector256<float> Lookup8(Vector256<float> low, Vector256<float> high, Vector256<int> index) => Avx.BlendVariable(
        Avx2.PermuteVar8x32(low, index),
        Avx2.PermuteVar8x32(high, index),
        (index << 28).AsSingle());

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector256<float> Mask(int count) =>
        Vector256.LessThan(Vector256<int>.Indices, Vector256.Create(count)).AsSingle();
}
