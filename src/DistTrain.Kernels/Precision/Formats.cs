using System.Runtime.CompilerServices;

namespace DistTrain.Kernels;

/// <summary>Reads and writes 16 lanes of an array in some format; the arithmetic in between is in fp32.</summary>
internal unsafe interface IFormat
{
    /// <summary>Bytes of one value.</summary>
    static abstract int Size { get; }

    /// <summary>The 16 values from an index on.</summary>
    static abstract T Load<T>(void* array, nint at)
        where T : struct, ILanes<T>;

    /// <summary>The first <paramref name="count"/> values from an index on, and +0.</summary>
    static abstract T LoadPartial<T>(void* array, nint at, int count)
        where T : struct, ILanes<T>;

    static abstract void Store<T>(void* array, nint at, T value)
        where T : struct, ILanes<T>;

    static abstract void StorePartial<T>(void* array, nint at, T value, int count)
        where T : struct, ILanes<T>;

    /// <summary>The nearest values that the format has.</summary>
    static abstract T Round<T>(T value)
        where T : struct, ILanes<T>;
}

internal readonly unsafe struct Float32Format : IFormat
{
    public static int Size => 4;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static T Load<T>(void* array, nint at)
        where T : struct, ILanes<T> => T.Load((float*)array + at);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static T LoadPartial<T>(void* array, nint at, int count)
        where T : struct, ILanes<T> => T.LoadPartial((float*)array + at, count);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Store<T>(void* array, nint at, T value)
        where T : struct, ILanes<T> => T.Store((float*)array + at, value);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void StorePartial<T>(void* array, nint at, T value, int count)
        where T : struct, ILanes<T> => T.StorePartial((float*)array + at, value, count);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static T Round<T>(T value)
        where T : struct, ILanes<T> => value;
}

/// <summary>To nearest, ties to even, by integer arithmetic; NaN stays NaN.</summary>
internal readonly unsafe struct BFloat16Format : IFormat
{
    public static int Size => 2;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static T Load<T>(void* array, nint at)
        where T : struct, ILanes<T> => Widen(T.LoadUInt16((ushort*)array + at));

    public static T LoadPartial<T>(void* array, nint at, int count)
        where T : struct, ILanes<T> => Widen(Halves.LoadPartial<T>((ushort*)array + at, count));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Store<T>(void* array, nint at, T value)
        where T : struct, ILanes<T> => T.StoreUInt16((ushort*)array + at, Narrow(value));

    public static void StorePartial<T>(void* array, nint at, T value, int count)
        where T : struct, ILanes<T> => Halves.StorePartial((ushort*)array + at, Narrow(value), count);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static T Round<T>(T value)
        where T : struct, ILanes<T> => T.And(Nearest(value), T.BroadcastBits(unchecked((int)0xFFFF0000)));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static T Widen<T>(T bits)
        where T : struct, ILanes<T> => T.ShiftLeft(bits, 16);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static T Narrow<T>(T value)
        where T : struct, ILanes<T> => T.And(T.ShiftRightArithmetic(Nearest(value), 16), T.BroadcastBits(0xFFFF));

    // The upper half of each lane is what is kept.
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static T Nearest<T>(T value)
        where T : struct, ILanes<T>
    {
        T lowest = T.And(T.ShiftRightArithmetic(value, 16), T.BroadcastBits(1));
        T rounded = T.AddBits(T.AddBits(value, T.BroadcastBits(0x7FFF)), lowest);
        T quiet = T.Or(value, T.BroadcastBits(0x00400000));
        return T.Select(T.Equal(value, value), rounded, quiet);
    }
}

/// <summary>To nearest, ties to even; from 65,520 on infinity, below 2^-14 denormal; NaN stays NaN.</summary>
internal readonly unsafe struct Float16Format : IFormat
{
    private const int SmallestNormal = 113 << 23;   // 2^-14

    public static int Size => 2;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static T Load<T>(void* array, nint at)
        where T : struct, ILanes<T> => Widen(T.LoadUInt16((ushort*)array + at));

    public static T LoadPartial<T>(void* array, nint at, int count)
        where T : struct, ILanes<T> => Widen(Halves.LoadPartial<T>((ushort*)array + at, count));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Store<T>(void* array, nint at, T value)
        where T : struct, ILanes<T> => T.StoreUInt16((ushort*)array + at, Narrow(value));

    public static void StorePartial<T>(void* array, nint at, T value, int count)
        where T : struct, ILanes<T> => Halves.StorePartial((ushort*)array + at, Narrow(value), count);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static T Round<T>(T value)
        where T : struct, ILanes<T>
    {
        T size = T.And(value, T.BroadcastBits(0x7FFFFFFF));
        T lowest = T.And(T.ShiftRightArithmetic(size, 13), T.BroadcastBits(1));
        T rounded = T.And(T.AddBits(T.AddBits(size, T.BroadcastBits(0xFFF)), lowest), T.BroadcastBits(~0x1FFF));
        T half = T.BroadcastBits(0x3F000000);
        T bits = T.Select(T.LessThan(size, T.BroadcastBits(SmallestNormal)), size + half - half, rounded);
        T special = T.Select(T.Equal(value, value), T.BroadcastBits(0x7F800000), T.BroadcastBits(0x7FC00000));
        bits = T.Select(T.LessThan(size, T.Broadcast(65520f)), bits, special);
        return T.Or(bits, T.And(value, T.BroadcastBits(unchecked((int)0x80000000))));
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static T Widen<T>(T half)
        where T : struct, ILanes<T>
    {
        T size = T.ShiftLeft(T.And(half, T.BroadcastBits(0x7FFF)), 13);
        T bias = T.BroadcastBits(112 << 23);
        T normal = T.AddBits(size, bias);
        // Infinity and NaN: the exponent is all ones in both formats.
        T large = T.AddBits(normal, bias);
        T smallest = T.BroadcastBits(SmallestNormal);
        // The denormals' bits become the fraction of 2^-14 (1 + fraction), and the 1 goes.
        T small = T.AddBits(size, smallest) - smallest;
        T value = T.Select(T.LessThan(size, T.BroadcastBits(31 << 23)), normal, large);
        value = T.Select(T.LessThan(size, T.BroadcastBits(1 << 23)), small, value);
        return T.Or(value, T.ShiftLeft(T.And(half, T.BroadcastBits(0x8000)), 16));
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static T Narrow<T>(T value)
        where T : struct, ILanes<T>
    {
        T size = T.And(value, T.BroadcastBits(0x7FFFFFFF));
        T lowest = T.And(T.ShiftRightArithmetic(size, 13), T.BroadcastBits(1));
        T rounded = T.AddBits(T.AddBits(size, T.BroadcastBits(0xFFF - (112 << 23))), lowest);
        T half = T.BroadcastBits(0x3F000000);
        // Adding a half rounds at the denormals' unit.
        T small = T.SubtractBits(size + half, half);
        T bits = T.Select(T.LessThan(size, T.BroadcastBits(SmallestNormal)), small, T.ShiftRightArithmetic(rounded, 13));
        T special = T.Select(T.Equal(value, value), T.BroadcastBits(0x7C00), T.BroadcastBits(0x7E00));
        bits = T.Select(T.LessThan(size, T.Broadcast(65536f)), bits, special);
        return T.Or(bits, T.And(T.ShiftRightArithmetic(value, 16), T.BroadcastBits(0x8000)));
    }
}

/// <summary>The ends of arrays of 16-bit values.</summary>
internal static unsafe class Halves
{
    public static T LoadPartial<T>(ushort* source, int count)
        where T : struct, ILanes<T>
    {
        ushort* lanes = stackalloc ushort[16];
        for (int i = 0; i < 16; i++) lanes[i] = i < count ? source[i] : (ushort)0;
        return T.LoadUInt16(lanes);
    }

    public static void StorePartial<T>(ushort* target, T value, int count)
        where T : struct, ILanes<T>
    {
        ushort* lanes = stackalloc ushort[16];
        T.StoreUInt16(lanes, value);
        for (int i = 0; i < count; i++) target[i] = lanes[i];
    }
}
