using DistTrain.Bench.Cases;

namespace DistTrain.Bench;

/// <summary>What <c>bench kernels</c> measures.</summary>
public static class KernelCases
{
    /// <summary>All cases, by the kernels they are of.</summary>
    public static IEnumerable<BenchCase> All =>
    [
        .. GemmCases.All,
        .. RecurrentCases.All,
        .. MemoryCases.All,
        .. CompressionCases.All,
        .. ActivationCases.All,
        .. LossCases.All,
        .. NormCases.All,
        .. AttentionCases.All,
        .. ConvolutionCases.All,
        .. PoolingCases.All,
    ];
}
