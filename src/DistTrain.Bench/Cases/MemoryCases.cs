using DistTrain.Bench.Peers;
using DistTrain.Kernels;

namespace DistTrain.Bench.Cases;

/// <summary>What runs at the memory's speed: optimizer updates and segment joins, against plain loops of the same traffic.</summary>
internal static unsafe class MemoryCases
{
    // A multiple of 1,024, so that each array of a block begins on a line.
    private const int Length = 10_000 * 1_024;

    public static IEnumerable<BenchCase> All =>
    [
        new("adam_10m", BenchUnit.GigabytesPerSecond, 28.0 * Length, s =>
        {
            float* g = s.Random(Length), w = s.Random(Length, 2), m = s.Zeros(Length), v = s.Zeros(Length);
            float* w2 = s.Random(Length, 3), m2 = s.Zeros(Length), v2 = s.Zeros(Length);
            var step = new AdamStep(1e-3, 0.9, 0.999, 1e-8, 0.01, 0.5, 0.1, true);
            s.Ours(() => AdamKernel.Update(step, w, m, v, g, 128, Length));
            s.Peer("memory", () => MemoryLoop.Update(g, w2, m2, v2, Length));
            s.Torch(
                $"w = torch.randn({Length}, requires_grad=True); w.grad = torch.randn({Length}); o = torch.optim.AdamW([w], lr=1e-3)",
                "o.step()");
        }),
        new("sgd_momentum_10m", BenchUnit.GigabytesPerSecond, 20.0 * Length, s =>
        {
            float* g = s.Random(Length), w = s.Random(Length, 2), m = s.Zeros(Length), w2 = s.Random(Length, 3), m2 = s.Zeros(Length), v2 = s.Zeros(Length);
            s.Ours(() => SgdKernel.Update(new SgdStep(0.1, 0.9), w, m, g, 128, Length));
            s.Peer("memory", () => MemoryLoop.Update(g, w2, m2, v2, Length), 28.0 * Length);
        }),
        Join(8, FloatFormat.Float32),
        Join(8, FloatFormat.BFloat16),
        Join(32, FloatFormat.Float32),
        JoinRounded(FloatFormat.BFloat16),
        JoinRounded(FloatFormat.Float16),
    ];

    private static BenchCase Join(int count, FloatFormat format)
    {
        int length = Length * 8 / Math.Max(count, 8);
        string name = format == FloatFormat.Float32 ? "" : "_" + format.ToString().ToLowerInvariant();
        return new($"join_{count}_segments_of_{(count == 8 ? "10m" : "2m")}{name}", BenchUnit.GigabytesPerSecond, ((double)count * format.Size() + 4) * length, s =>
        {
            float* all = s.Random((long)count * length), sum = s.Zeros(length), sum2 = s.Zeros(length);
            // Two floats' room for each pointer.
            void** segments = (void**)s.Zeros(2L * count);
            for (int i = 0; i < count; i++) segments[i] = (byte*)all + ((nint)i * length * format.Size());
            s.Ours(() => SegmentJoin.Sum(segments, count, format, sum, length));
            if (format == FloatFormat.Float32) s.Peer("memory", () => MemoryLoop.Sum8(all, length, sum2, length), 36.0 * length);
        });
    }

    // What a worker does to four shards' gradients before they travel in 16 bits.
    private static BenchCase JoinRounded(FloatFormat format)
    {
        const int Count = 4;
        int length = Length;
        return new($"rounded_join_{Count}_segments_of_10m_to_{format.ToString().ToLowerInvariant()}", BenchUnit.GigabytesPerSecond, ((double)Count * sizeof(float) + format.Size()) * length, s =>
        {
            float* all = s.Random((long)Count * length), sum = s.Zeros(length);
            void** segments = (void**)s.Zeros(2L * Count);
            for (int i = 0; i < Count; i++) segments[i] = all + ((nint)i * length);
            s.Ours(() => RoundedJoin.Sum(segments, Count, FloatFormat.Float32, format, sum, format, length));
        });
    }
}
