namespace DistTrain.Kernels;

/// <summary>
/// Arithmetic on fp32 lanes, whatever their number: what a formula needs. All operations are exact or correctly rounded
/// lane by lane, so every width gives the same bits.
/// </summary>
/// <remarks>
/// A comparison gives all ones or all zeros per lane. Operations on bits treat a lane as a 32-bit integer.
/// </remarks>
internal unsafe interface IArithmetic<T>
    where T : struct, IArithmetic<T>
{
    static abstract T Zero { get; }

    static abstract T Broadcast(float value);

    static abstract T BroadcastBits(int value);

    static abstract T operator +(T a, T b);

    static abstract T operator -(T a, T b);

    static abstract T operator *(T a, T b);

    static abstract T operator /(T a, T b);

    /// <summary>a·b + c, rounded once.</summary>
    static abstract T Fma(T a, T b, T c);

    static abstract T Sqrt(T a);

    /// <summary>a where a &lt; b, else b: so b where either is NaN. Not the IEEE minimum, and one instruction on x86.</summary>
    static abstract T Lesser(T a, T b);

    /// <summary>a where a &gt; b, else b: so b where either is NaN.</summary>
    static abstract T Greater(T a, T b);

    static abstract T LessThan(T a, T b);

    static abstract T Equal(T a, T b);

    /// <summary>Where <paramref name="mask"/> is all ones <paramref name="a"/>, where it is zero <paramref name="b"/>.</summary>
    static abstract T Select(T mask, T a, T b);

    static abstract T And(T a, T b);

    static abstract T Or(T a, T b);

    static abstract T Xor(T a, T b);

    static abstract T AddBits(T a, T b);

    static abstract T SubtractBits(T a, T b);

    static abstract T ShiftLeft(T a, int count);

    static abstract T ShiftRightArithmetic(T a, int count);

    /// <summary>The lanes' integers as floats, correctly rounded.</summary>
    static abstract T BitsToFloat(T a);

    /// <summary>
    /// a · 2^n, rounded once, for n a float that holds an integer in [-252, 254], where a · 2^⌊n/2⌋ is no denormal (it is
    /// computed on the way), or n is so low that the result is a zero anyway. For |a| in [0.5, 2) one of them holds always.
    /// </summary>
    static abstract T TimesPowerOfTwo(T a, T n);

    /// <summary>table[index mod 16] for a table of 16 floats and integer indices: a permutation within registers.</summary>
    static abstract T Lookup(float* table, T index);
}
