using DistTrain.Kernels;

namespace DistTrain.Bench.Cases;

/// <summary>What gradients go through to travel in less: bytes of fp32 values a second.</summary>
internal static unsafe class CompressionCases
{
    private const int Length = 1 << 20;
    private const double Fraction = 0.01;
    private const double Bytes = 4.0 * Length;

    private static readonly KeyedRandom Random = new(1, 2);

    public static IEnumerable<BenchCase> All =>
    [
        new("bf16_pack_1m", BenchUnit.GigabytesPerSecond, Bytes, s =>
        {
            float* x = s.Random(Length), packed = s.Zeros(Length / 2);
            s.Ours(() => Precisions.FromFloat32(x, packed, FloatFormat.BFloat16, Length));
        }),
        new("int8_pack_1m", BenchUnit.GigabytesPerSecond, Bytes, s =>
        {
            float* x = s.Random(Length), packed = s.Zeros(Int8Blocks.Words(Length));
            s.Ours(() => Int8Blocks.Quantise(Random, 1, 0, x, Length, packed));
        }),
        new("int8_round_1m", BenchUnit.GigabytesPerSecond, Bytes, s =>
        {
            float* x = s.Random(Length);
            s.Ours(() => Int8Blocks.Round(Random, 1, 0, x, Length));
        }),
        new("int8_unpack_1m", BenchUnit.GigabytesPerSecond, Bytes, s =>
        {
            float* x = s.Random(Length), packed = s.Zeros(Int8Blocks.Words(Length));
            Int8Blocks.Quantise(Random, 1, 0, x, Length, packed);
            s.Ours(() => Int8Blocks.Dequantise(packed, x, Length));
        }),
        new("top_k_select_1m", BenchUnit.GigabytesPerSecond, Bytes, s =>
        {
            float* x = s.Random(Length), held = s.Zeros(Length), packed = s.Zeros(TopKBlocks.Words(Fraction, Length));
            s.Ours(() => TopKBlocks.Select(Fraction, x, held, Length, packed));
        }),
        new("top_k_expand_1m", BenchUnit.GigabytesPerSecond, Bytes, s =>
        {
            float* x = s.Random(Length), held = s.Zeros(Length), packed = s.Zeros(TopKBlocks.Words(Fraction, Length));
            TopKBlocks.Select(Fraction, x, held, Length, packed);
            s.Ours(() => TopKBlocks.Expand(Fraction, packed, x, Length));
        }),
    ];
}
