using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace DistTrain.Kernels;

/// <summary>Sixteen lanes in four 128-bit vectors.</summary>
internal readonly unsafe struct Lanes128(Vector128<float> a, Vector128<float> b, Vector128<float> c, Vector128<float> d) : ILanes<Lanes128>
{
    private readonly Vector128<float> _a = a;
    private readonly Vector128<float> _b = b;
    private readonly Vector128<float> _c = c;
    private readonly Vector128<float> _d = d;

    // NEON has 32 registers, SSE 16.
    public static int TileRows => System.Runtime.Intrinsics.Arm.AdvSimd.Arm64.IsSupported ? 6 : 2;

    public static int TileBlocks => 1;

    public static Lanes128 Zero => new(Vector128<float>.Zero, Vector128<float>.Zero, Vector128<float>.Zero, Vector128<float>.Zero);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes128 Broadcast(float value)
    {
        Vector128<float> v = Vector128.Create(value);
        return new(v, v, v, v);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes128 BroadcastBits(int value)
    {
        Vector128<float> v = Vector128.Create(value).AsSingle();
        return new(v, v, v, v);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes128 BroadcastFrom(float* source)
    {
        Vector128<float> v = Vector128.Create(*source);
        return new(v, v, v, v);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes128 Load(float* source) => new(
        Vector128.Load(source),
        Vector128.Load(source + 4),
        Vector128.Load(source + 8),
        Vector128.Load(source + 12));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Store(float* target, Lanes128 value)
    {
        value._a.Store(target);
        value._b.Store(target + 4);
        value._c.Store(target + 8);
        value._d.Store(target + 12);
    }

    public static Lanes128 LoadPartial(float* source, int count)
    {
        float* lanes = stackalloc float[16];
        new Span<float>(lanes, 16).Clear();
        for (int i = 0; i < count; i++) lanes[i] = source[i];
        return Load(lanes);
    }

    public static void StorePartial(float* target, Lanes128 value, int count)
    {
        float* lanes = stackalloc float[16];
        Store(lanes, value);
        for (int i = 0; i < count; i++) target[i] = lanes[i];
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void StoreStreaming(float* target, Lanes128 value) => Store(target, value);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes128 LoadUInt16(ushort* source)
    {
        Vector128<ushort> low = Vector128.Load(source);
        Vector128<ushort> high = Vector128.Load(source + 8);
        return new(
            Vector128.WidenLower(low).AsSingle(),
            Vector128.WidenUpper(low).AsSingle(),
            Vector128.WidenLower(high).AsSingle(),
            Vector128.WidenUpper(high).AsSingle());
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void StoreUInt16(ushort* target, Lanes128 value)
    {
        Vector128.Narrow(value._a.AsUInt32(), value._b.AsUInt32()).Store(target);
        Vector128.Narrow(value._c.AsUInt32(), value._d.AsUInt32()).Store(target + 8);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes128 LoadInt8(sbyte* source)
    {
        Vector128<sbyte> all = Vector128.Load(source);
        Vector128<short> low = Vector128.WidenLower(all), high = Vector128.WidenUpper(all);
        return new(
            Vector128.WidenLower(low).AsSingle(),
            Vector128.WidenUpper(low).AsSingle(),
            Vector128.WidenLower(high).AsSingle(),
            Vector128.WidenUpper(high).AsSingle());
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void StoreInt8(sbyte* target, Lanes128 value) =>
        Vector128.Narrow(
            Vector128.Narrow(value._a.AsInt32(), value._b.AsInt32()), Vector128.Narrow(value._c.AsInt32(), value._d.AsInt32())).Store(target);

    public static void LoadColumns(
        float* source, nint stride, int rows, out Lanes128 c0, out Lanes128 c1, out Lanes128 c2, out Lanes128 c3)
    {
        float* columns = stackalloc float[64];
        for (int i = 0; i < rows; i++)
            for (int j = 0; j < 4; j++)
                columns[(j * 16) + i] = source[(i * stride) + j];
        c0 = Load(columns);
        c1 = Load(columns + 16);
        c2 = Load(columns + 32);
        c3 = Load(columns + 48);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes128 operator +(Lanes128 a, Lanes128 b) => new(a._a + b._a, a._b + b._b, a._c + b._c, a._d + b._d);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes128 operator -(Lanes128 a, Lanes128 b) => new(a._a - b._a, a._b - b._b, a._c - b._c, a._d - b._d);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes128 operator *(Lanes128 a, Lanes128 b) => new(a._a * b._a, a._b * b._b, a._c * b._c, a._d * b._d);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes128 operator /(Lanes128 a, Lanes128 b) => new(a._a / b._a, a._b / b._b, a._c / b._c, a._d / b._d);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes128 Fma(Lanes128 a, Lanes128 b, Lanes128 c) => new(
        Vector128.FusedMultiplyAdd(a._a, b._a, c._a),
        Vector128.FusedMultiplyAdd(a._b, b._b, c._b),
        Vector128.FusedMultiplyAdd(a._c, b._c, c._c),
        Vector128.FusedMultiplyAdd(a._d, b._d, c._d));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes128 Sqrt(Lanes128 a) => new(
        Vector128.Sqrt(a._a),
        Vector128.Sqrt(a._b),
        Vector128.Sqrt(a._c),
        Vector128.Sqrt(a._d));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes128 Max(Lanes128 a, Lanes128 b) => new(
        Vector128.Max(a._a, b._a),
        Vector128.Max(a._b, b._b),
        Vector128.Max(a._c, b._c),
        Vector128.Max(a._d, b._d));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes128 Lesser(Lanes128 a, Lanes128 b) => Select(LessThan(a, b), a, b);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes128 Greater(Lanes128 a, Lanes128 b) => Select(LessThan(b, a), a, b);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes128 LessThan(Lanes128 a, Lanes128 b) => new(
        Vector128.LessThan(a._a, b._a),
        Vector128.LessThan(a._b, b._b),
        Vector128.LessThan(a._c, b._c),
        Vector128.LessThan(a._d, b._d));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes128 Equal(Lanes128 a, Lanes128 b) => new(
        Vector128.Equals(a._a, b._a),
        Vector128.Equals(a._b, b._b),
        Vector128.Equals(a._c, b._c),
        Vector128.Equals(a._d, b._d));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes128 Select(Lanes128 mask, Lanes128 a, Lanes128 b) => new(
        Vector128.ConditionalSelect(mask._a, a._a, b._a),
        Vector128.ConditionalSelect(mask._b, a._b, b._b),
        Vector128.ConditionalSelect(mask._c, a._c, b._c),
        Vector128.ConditionalSelect(mask._d, a._d, b._d));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes128 And(Lanes128 a, Lanes128 b) => new(a._a & b._a, a._b & b._b, a._c & b._c, a._d & b._d);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes128 Or(Lanes128 a, Lanes128 b) => new(a._a | b._a, a._b | b._b, a._c | b._c, a._d | b._d);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes128 Xor(Lanes128 a, Lanes128 b) => new(a._a ^ b._a, a._b ^ b._b, a._c ^ b._c, a._d ^ b._d);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes128 AddBits(Lanes128 a, Lanes128 b) => new(
        (a._a.AsInt32() + b._a.AsInt32()).AsSingle(),
        (a._b.AsInt32() + b._b.AsInt32()).AsSingle(),
        (a._c.AsInt32() + b._c.AsInt32()).AsSingle(),
        (a._d.AsInt32() + b._d.AsInt32()).AsSingle());

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes128 SubtractBits(Lanes128 a, Lanes128 b) => new(
        (a._a.AsInt32() - b._a.AsInt32()).AsSingle(),
        (a._b.AsInt32() - b._b.AsInt32()).AsSingle(),
        (a._c.AsInt32() - b._c.AsInt32()).AsSingle(),
        (a._d.AsInt32() - b._d.AsInt32()).AsSingle());

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes128 ShiftLeft(Lanes128 a, int count) => new(
        (a._a.AsInt32() << count).AsSingle(),
        (a._b.AsInt32() << count).AsSingle(),
        (a._c.AsInt32() << count).AsSingle(),
        (a._d.AsInt32() << count).AsSingle());

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes128 ShiftRightArithmetic(Lanes128 a, int count) => new(
        (a._a.AsInt32() >> count).AsSingle(),
        (a._b.AsInt32() >> count).AsSingle(),
        (a._c.AsInt32() >> count).AsSingle(),
        (a._d.AsInt32() >> count).AsSingle());

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes128 BitsToFloat(Lanes128 a) => new(
        Vector128.ConvertToSingle(a._a.AsInt32()),
        Vector128.ConvertToSingle(a._b.AsInt32()),
        Vector128.ConvertToSingle(a._c.AsInt32()),
        Vector128.ConvertToSingle(a._d.AsInt32()));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes128 TimesPowerOfTwo(Lanes128 a, Lanes128 n) => PowersOfTwo.Multiply(a, n);

    public static Lanes128 Lookup(float* table, Lanes128 index)
    {
        float* lanes = stackalloc float[16];
        Store(lanes, index);
        for (int i = 0; i < 16; i++) lanes[i] = table[((int*)lanes)[i] & 15];
        return Load(lanes);
    }

    public static Lanes128 FirstLanes(int count) => new(Mask(count), Mask(count - 4), Mask(count - 8), Mask(count - 12));

    public static float First(Lanes128 a) => a._a.ToScalar();

    public static float Sum(Lanes128 a) => Sum((a._a + a._c) + (a._b + a._d));

    public static Lanes128 SumInAll(Lanes128 a) => Broadcast(Sum(a));

    public static Lanes128 LargestInAll(Lanes128 a) => Broadcast(MaxOf(a));

    public static float MaxOf(Lanes128 a) =>
        MaxOf(Vector128.Max(Vector128.Max(a._a, a._c), Vector128.Max(a._b, a._d)));

    /// <summary>The last two levels of the tree: lane i joins i+2, then i+1.</summary>
    public static float Sum(Vector128<float> four) => (four[0] + four[2]) + (four[1] + four[3]);

    /// <summary>The last two levels of the tree for the maximum.</summary>
    public static float MaxOf(Vector128<float> four) =>
        MathF.Max(MathF.Max(four[0], four[2]), MathF.Max(four[1], four[3]));

    private static Vector128<float> Mask(int count) =>
        Vector128.LessThan(Vector128<int>.Indices, Vector128.Create(count)).AsSingle();
}
