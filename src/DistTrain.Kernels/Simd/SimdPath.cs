using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace DistTrain.Kernels;

/// <summary>A width at which the kernels can run. All give the same bits (invariant I1); they differ in speed.</summary>
public enum SimdLevel
{
    /// <summary>Plain float arithmetic, one lane at a time.</summary>
    Scalar = 1,

    /// <summary>128-bit vectors (SSE/AVX or Arm NEON).</summary>
    Vector128 = 128,

    /// <summary>256-bit vectors (AVX2 with FMA).</summary>
    Vector256 = 256,

    /// <summary>512-bit vectors (AVX-512).</summary>
    Vector512 = 512,
}

/// <summary>
/// Which width the kernels run at: the widest that the processor has, or what the environment variable
/// <c>DISTTRAIN_SIMD</c> (<c>512</c>, <c>256</c>, <c>128</c> or <c>scalar</c>) asks for. A width that this processor
/// lacks gives the widest one it has below that; the bits are the same.
/// </summary>
public static class SimdPath
{
    /// <summary>The environment variable that forces a path.</summary>
    public const string Variable = "DISTTRAIN_SIMD";

    private static readonly string? Requested = Environment.GetEnvironmentVariable(Variable);

    private static SimdLevel? _current;

    /// <summary>The widest level that this processor runs in hardware, fused multiply-add included.</summary>
    public static SimdLevel Widest { get; } = FindWidest();

    /// <summary>The level in use.</summary>
    /// <exception cref="ArgumentException"><c>DISTTRAIN_SIMD</c> holds no known level.</exception>
    public static SimdLevel Current => _current ?? Resolve();

    /// <summary>Checks <c>DISTTRAIN_SIMD</c>, for a program that wants to report a bad value before it starts work.</summary>
    /// <exception cref="ArgumentException">It holds no known level; the message names the value and what is allowed.</exception>
    public static void Validate() => Parse(Requested);

    /// <summary>The level that a value of <c>DISTTRAIN_SIMD</c> stands for on this processor.</summary>
    /// <param name="value">512, 256, 128 or scalar; null or empty for the widest.</param>
    /// <exception cref="ArgumentException">The value is none of these.</exception>
    internal static SimdLevel Parse(string? value)
    {
        if (string.IsNullOrWhiteSpace(value)) return Widest;
        SimdLevel asked = value.Trim().ToLowerInvariant() switch
        {
            "512" => SimdLevel.Vector512,
            "256" => SimdLevel.Vector256,
            "128" => SimdLevel.Vector128,
            "scalar" => SimdLevel.Scalar,
            _ => throw new ArgumentException($"{Variable}={value}: unknown SIMD path; allowed are 512, 256, 128 and scalar.", nameof(value)),
        };
        return asked < Widest ? asked : Widest;
    }

    /// <summary>Runs what follows at another level, for the whole process, until the scope is disposed. For tests.</summary>
    internal static Scope Force(SimdLevel level)
    {
        var scope = new Scope(_current);
        _current = level < Widest ? level : Widest;
        return scope;
    }

    private static SimdLevel Resolve()
    {
        SimdLevel level = Parse(Requested);
        _current = level;
        return level;
    }

    // Vector512.IsHardwareAccelerated is false on processors that clock down for 512-bit work, though they have it and
    // a GEMM gains from it: ask for the instructions themselves.
    private static SimdLevel FindWidest()
    {
        if (Avx512F.IsSupported && Avx512DQ.IsSupported) return SimdLevel.Vector512;
        if (Vector256.IsHardwareAccelerated && Fma.IsSupported) return SimdLevel.Vector256;
        return Vector128.IsHardwareAccelerated ? SimdLevel.Vector128 : SimdLevel.Scalar;
    }

    /// <summary>Restores the level that was in force before <see cref="Force"/>.</summary>
    internal readonly struct Scope(SimdLevel? previous) : IDisposable
    {
        public void Dispose() => _current = previous;
    }
}
