using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace DistTrain.Kernels;

/// <summary>Sixteen lanes in one 512-bit vector.</summary>
internal readonly unsafe struct Lanes512(Vector512<float> a) : ILanes<Lanes512>
{
    private readonly Vector512<float> _a = a;

    public static int TileRows => 12;

    public static int TileBlocks => 2;

    public static Lanes512 Zero => new(Vector512<float>.Zero);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes512 Broadcast(float value) => new(Vector512.Create(value));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes512 BroadcastBits(int value) => new(Vector512.Create(value).AsSingle());

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes512 BroadcastFrom(float* source) => new(Vector512.Create(*source));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes512 Load(float* source) => new(Vector512.Load(source));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Store(float* target, Lanes512 value) => value._a.Store(target);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes512 LoadPartial(float* source, int count) =>
        new(Avx512F.MaskLoad(source, Mask(count), Vector512<float>.Zero));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void StorePartial(float* target, Lanes512 value, int count) =>
        Avx512F.MaskStore(target, Mask(count), value._a);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void StoreStreaming(float* target, Lanes512 value) => value._a.StoreAlignedNonTemporal(target);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes512 LoadUInt16(ushort* source) => new(Avx512F.ConvertToVector512Int32(Vector256.Load(source)).AsSingle());

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void StoreUInt16(ushort* target, Lanes512 value) =>
        Avx512F.ConvertToVector256UInt16(value._a.AsUInt32()).Store(target);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes512 LoadInt8(sbyte* source) => new(Avx512F.ConvertToVector512Int32(Vector128.Load(source)).AsSingle());

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void StoreInt8(sbyte* target, Lanes512 value) =>
        Avx512F.ConvertToVector128SByte(value._a.AsInt32()).Store(target);

    // Rows i, i+4, i+8 and i+12 share a register, so that four 4x4 transposes happen at once within its quarters.
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void LoadColumns(
        float* source, nint stride, int rows, out Lanes512 c0, out Lanes512 c1, out Lanes512 c2, out Lanes512 c3)
    {
        Vector512<float> a = Quarters(source, stride, rows);
        Vector512<float> b = Quarters(source + stride, stride, rows);
        Vector512<float> c = Quarters(source + (2 * stride), stride, rows);
        Vector512<float> d = Quarters(source + (3 * stride), stride, rows);
        Vector512<double> lowAB = Avx512F.UnpackLow(a, b).AsDouble();
        Vector512<double> highAB = Avx512F.UnpackHigh(a, b).AsDouble();
        Vector512<double> lowCD = Avx512F.UnpackLow(c, d).AsDouble();
        Vector512<double> highCD = Avx512F.UnpackHigh(c, d).AsDouble();
        c0 = new(Avx512F.UnpackLow(lowAB, lowCD).AsSingle());
        c1 = new(Avx512F.UnpackHigh(lowAB, lowCD).AsSingle());
        c2 = new(Avx512F.UnpackLow(highAB, highCD).AsSingle());
        c3 = new(Avx512F.UnpackHigh(highAB, highCD).AsSingle());
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes512 operator +(Lanes512 a, Lanes512 b) => new(a._a + b._a);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes512 operator -(Lanes512 a, Lanes512 b) => new(a._a - b._a);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes512 operator *(Lanes512 a, Lanes512 b) => new(a._a * b._a);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes512 operator /(Lanes512 a, Lanes512 b) => new(a._a / b._a);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes512 Fma(Lanes512 a, Lanes512 b, Lanes512 c) => new(Vector512.FusedMultiplyAdd(a._a, b._a, c._a));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes512 Sqrt(Lanes512 a) => new(Vector512.Sqrt(a._a));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes512 Max(Lanes512 a, Lanes512 b) => new(Vector512.Max(a._a, b._a));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes512 Lesser(Lanes512 a, Lanes512 b) => new(Avx512F.Min(a._a, b._a));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes512 Greater(Lanes512 a, Lanes512 b) => new(Avx512F.Max(a._a, b._a));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes512 LessThan(Lanes512 a, Lanes512 b) => new(Vector512.LessThan(a._a, b._a));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes512 Equal(Lanes512 a, Lanes512 b) => new(Vector512.Equals(a._a, b._a));

    // Unlike ConditionalSelect it takes a comparison's mask register as it is.
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes512 Select(Lanes512 mask, Lanes512 a, Lanes512 b) => new(Avx512F.BlendVariable(b._a, a._a, mask._a));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes512 And(Lanes512 a, Lanes512 b) => new(a._a & b._a);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes512 Or(Lanes512 a, Lanes512 b) => new(a._a | b._a);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes512 Xor(Lanes512 a, Lanes512 b) => new(a._a ^ b._a);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes512 AddBits(Lanes512 a, Lanes512 b) => new((a._a.AsInt32() + b._a.AsInt32()).AsSingle());

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes512 SubtractBits(Lanes512 a, Lanes512 b) => new((a._a.AsInt32() - b._a.AsInt32()).AsSingle());

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes512 ShiftLeft(Lanes512 a, int count) => new((a._a.AsInt32() << count).AsSingle());

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes512 ShiftRightArithmetic(Lanes512 a, int count) => new((a._a.AsInt32() >> count).AsSingle());

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes512 BitsToFloat(Lanes512 a) => new(Vector512.ConvertToSingle(a._a.AsInt32()));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes512 TimesPowerOfTwo(Lanes512 a, Lanes512 n) => new(Avx512F.Scale(a._a, n._a));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes512 Lookup(float* table, Lanes512 index) =>
        new(Avx512F.PermuteVar16x32(Vector512.Load(table), index._a.AsInt32()));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes512 FirstLanes(int count) => new(Mask(count));

    public static float First(Lanes512 a) => a._a.ToScalar();

    public static float Sum(Lanes512 a)
    {
        Vector256<float> eight = a._a.GetLower() + a._a.GetUpper();
        Vector128<float> four = eight.GetLower() + eight.GetUpper();
        return Lanes128.Sum(four);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes512 SumInAll(Lanes512 a)
    {
        Vector512<float> v = a._a + Avx512F.Shuffle4x128(a._a, a._a, 0x4E);
        v += Avx512F.Shuffle4x128(v, v, 0xB1);
        v += Avx512F.Permute4x32(v, 0x4E);
        return new(v + Avx512F.Permute4x32(v, 0xB1));
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes512 LargestInAll(Lanes512 a)
    {
        Vector512<float> v = Avx512F.Max(a._a, Avx512F.Shuffle4x128(a._a, a._a, 0x4E));
        v = Avx512F.Max(v, Avx512F.Shuffle4x128(v, v, 0xB1));
        v = Avx512F.Max(v, Avx512F.Permute4x32(v, 0x4E));
        return new(Avx512F.Max(v, Avx512F.Permute4x32(v, 0xB1)));
    }

    public static float MaxOf(Lanes512 a)
    {
        Vector256<float> eight = Vector256.Max(a._a.GetLower(), a._a.GetUpper());
        return Lanes128.MaxOf(Vector128.Max(eight.GetLower(), eight.GetUpper()));
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector512<float> Quarters(float* source, nint stride, int rows)
    {
        Vector512<float> v = Vector128.Load(source).ToVector256Unsafe().ToVector512Unsafe();
        if (rows > 4) v = Avx512F.InsertVector128(v, Vector128.Load(source + (4 * stride)), 1);
        if (rows > 8) v = Avx512F.InsertVector128(v, Vector128.Load(source + (8 * stride)), 2);
        if (rows > 12) v = Avx512F.InsertVector128(v, Vector128.Load(source + (12 * stride)), 3);
        return v;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector512<float> Mask(int count) =>
        Vector512.LessThan(Vector512<int>.Indices, Vector512.Create(count)).AsSingle();
}
