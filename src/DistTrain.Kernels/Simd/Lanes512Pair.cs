using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace DistTrain.Kernels;

/// <summary>
/// Two 512-bit vectors that go through a formula side by side: its chain of dependent operations is long, and the
/// processor looks ahead too little to overlap one vector's chain with the next one's.
/// </summary>
internal readonly unsafe struct Lanes512Pair(Vector512<float> a, Vector512<float> b) : IArithmetic<Lanes512Pair>
{
    /// <summary>How many lanes there are.</summary>
    public const int Count = 32;

    private readonly Vector512<float> _a = a;
    private readonly Vector512<float> _b = b;

    public static Lanes512Pair Zero => new(Vector512<float>.Zero, Vector512<float>.Zero);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes512Pair Broadcast(float value)
    {
        Vector512<float> v = Vector512.Create(value);
        return new(v, v);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes512Pair BroadcastBits(int value)
    {
        Vector512<float> v = Vector512.Create(value).AsSingle();
        return new(v, v);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes512Pair Load(float* source) => new(Vector512.Load(source), Vector512.Load(source + 16));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Store(float* target, Lanes512Pair value)
    {
        value._a.Store(target);
        value._b.Store(target + 16);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes512Pair operator +(Lanes512Pair a, Lanes512Pair b) => new(a._a + b._a, a._b + b._b);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes512Pair operator -(Lanes512Pair a, Lanes512Pair b) => new(a._a - b._a, a._b - b._b);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes512Pair operator *(Lanes512Pair a, Lanes512Pair b) => new(a._a * b._a, a._b * b._b);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes512Pair operator /(Lanes512Pair a, Lanes512Pair b) => new(a._a / b._a, a._b / b._b);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes512Pair Fma(Lanes512Pair a, Lanes512Pair b, Lanes512Pair c) => new(
        Vector512.FusedMultiplyAdd(a._a, b._a, c._a),
        Vector512.FusedMultiplyAdd(a._b, b._b, c._b));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes512Pair Sqrt(Lanes512Pair a) => new(Vector512.Sqrt(a._a), Vector512.Sqrt(a._b));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes512Pair Lesser(Lanes512Pair a, Lanes512Pair b) => new(Avx512F.Min(a._a, b._a), Avx512F.Min(a._b, b._b));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes512Pair Greater(Lanes512Pair a, Lanes512Pair b) => new(Avx512F.Max(a._a, b._a), Avx512F.Max(a._b, b._b));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes512Pair LessThan(Lanes512Pair a, Lanes512Pair b) => new(
        Vector512.LessThan(a._a, b._a),
        Vector512.LessThan(a._b, b._b));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes512Pair Equal(Lanes512Pair a, Lanes512Pair b) => new(
        Vector512.Equals(a._a, b._a),
        Vector512.Equals(a._b, b._b));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes512Pair Select(Lanes512Pair mask, Lanes512Pair a, Lanes512Pair b) => new(
        Avx512F.BlendVariable(b._a, a._a, mask._a),
        Avx512F.BlendVariable(b._b, a._b, mask._b));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes512Pair And(Lanes512Pair a, Lanes512Pair b) => new(a._a & b._a, a._b & b._b);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes512Pair Or(Lanes512Pair a, Lanes512Pair b) => new(a._a | b._a, a._b | b._b);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes512Pair Xor(Lanes512Pair a, Lanes512Pair b) => new(a._a ^ b._a, a._b ^ b._b);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes512Pair AddBits(Lanes512Pair a, Lanes512Pair b) => new(
        (a._a.AsInt32() + b._a.AsInt32()).AsSingle(),
        (a._b.AsInt32() + b._b.AsInt32()).AsSingle());

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes512Pair SubtractBits(Lanes512Pair a, Lanes512Pair b) => new(
        (a._a.AsInt32() - b._a.AsInt32()).AsSingle(),
        (a._b.AsInt32() - b._b.AsInt32()).AsSingle());

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes512Pair ShiftLeft(Lanes512Pair a, int count) => new(
        (a._a.AsInt32() << count).AsSingle(),
        (a._b.AsInt32() << count).AsSingle());

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes512Pair ShiftRightArithmetic(Lanes512Pair a, int count) => new(
        (a._a.AsInt32() >> count).AsSingle(),
        (a._b.AsInt32() >> count).AsSingle());

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes512Pair BitsToFloat(Lanes512Pair a) => new(
        Vector512.ConvertToSingle(a._a.AsInt32()),
        Vector512.ConvertToSingle(a._b.AsInt32()));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes512Pair TimesPowerOfTwo(Lanes512Pair a, Lanes512Pair n) => new(Avx512F.Scale(a._a, n._a), Avx512F.Scale(a._b, n._b));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes512Pair Lookup(float* table, Lanes512Pair index)
    {
        Vector512<float> values = Vector512.Load(table);
        return new(Avx512F.PermuteVar16x32(values, index._a.AsInt32()), Avx512F.PermuteVar16x32(values, index._b.AsInt32()));
    }
}
