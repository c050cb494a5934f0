using System.Runtime.CompilerServices;

namespace DistTrain.Kernels;

/// <summary><see cref="IArithmetic{T}.TimesPowerOfTwo"/> where the processor has no instruction for it.</summary>
internal static class PowersOfTwo
{
    /// <summary>2^n in two halves: the first product is exact, so a result below the normal range is rounded once.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static T Multiply<T>(T a, T n)
        where T : struct, IArithmetic<T>
    {
        // Adding 1.5 * 2^23 leaves the integer in the low bits.
        T exponent = T.SubtractBits(n + T.Broadcast(12582912f), T.BroadcastBits(0x4B400000));
        T half = T.ShiftRightArithmetic(exponent, 1);
        return a * Power(half) * Power(T.SubtractBits(exponent, half));
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static T Power<T>(T n)
        where T : struct, IArithmetic<T> => T.ShiftLeft(T.AddBits(n, T.BroadcastBits(127)), 23);
}
