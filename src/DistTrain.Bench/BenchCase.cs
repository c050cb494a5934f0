namespace DistTrain.Bench;

/// <summary>What a figure counts.</summary>
public enum BenchUnit
{
    /// <summary>Billions of floating-point operations a second; a fused multiply-add is two.</summary>
    Gflops,

    /// <summary>Billions of bytes a second.</summary>
    GigabytesPerSecond,

    /// <summary>Microseconds a call.</summary>
    Microseconds,
}

/// <summary>
/// One thing to measure. A new one is a line in a file of <c>Cases/</c>, listed in <see cref="KernelCases"/>:
/// <code>
/// new BenchCase("gemm_32x32x32_nn", BenchUnit.Gflops, 2.0 * 32 * 32 * 32, s =>
/// {
///     float* a = s.Random(32 * 32), b = s.Random(32 * 32), c = s.Zeros(32 * 32);
///     s.Ours(() => Gemm.Multiply(…));
///     s.Peer("openblas", () => OpenBlas.Multiply(…));             // in this process
///     s.Torch("x = torch.randn(32, 32)", "x @ x");                 // in a Python process, one thread
///     s.FmaPeak();                                                 // the machine's own limit
/// });
/// </code>
/// </summary>
/// <param name="Name">Kernel, shape and form, in snake case; unique.</param>
/// <param name="Unit">What the value counts.</param>
/// <param name="Work">Operations or bytes of one call; 1 for microseconds.</param>
/// <param name="Prepare">Makes the operands and names the contenders.</param>
public sealed record BenchCase(string Name, BenchUnit Unit, double Work, Action<BenchSetup> Prepare);

/// <summary>One line of <c>results</c>: ours beside one peer's, both from the same run.</summary>
/// <param name="Name">The case.</param>
/// <param name="Value">Ours, the median; a time in microseconds, else a rate.</param>
/// <param name="Unit">GFLOP/s, GB/s, us, or another that the case names.</param>
/// <param name="Peer">Whom it is compared with; null for nobody.</param>
/// <param name="PeerValue">The peer's median; null where the peer isn't on this machine.</param>
/// <param name="Ratio">How many times as fast as the peer we are: the median of the rounds' ratios.</param>
/// <param name="RatioLow">The lower quartile of the rounds' ratios.</param>
/// <param name="RatioHigh">The upper quartile of the rounds' ratios.</param>
public sealed record BenchResult(
    string Name, double Value, string Unit, string? Peer, double? PeerValue, double? Ratio, double? RatioLow, double? RatioHigh);
