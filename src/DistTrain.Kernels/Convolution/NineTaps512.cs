using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace DistTrain.Kernels;

/// <summary>
/// Three runs of three taps over one channel (a 3x3 kernel's forward pass, a phase of a taller one's data gradient), for
/// AVX-512 and strips of 32 outputs: all nine weights of both blocks stay in registers while a row of pixels passes, four at a time. <see cref="ConvTile512"/> would spend most of
/// its time between tiles.
/// </summary>
internal static unsafe class NineTaps512
{
    /// <summary>The least pixels of a row.</summary>
    public const int LeastPixels = 4;

    /// <summary>One row of targets, neighbours in the source too.</summary>
    /// <param name="segments">The three runs of three taps.</param>
    /// <param name="a">The first pixel's first tap, before the segments' offsets.</param>
    /// <param name="b">The strip's weights, 32 for each tap, before the segments' offsets.</param>
    /// <param name="to">The first target.</param>
    /// <param name="toStride">Floats from one target to the next.</param>
    /// <param name="pixels">How many, at least <see cref="LeastPixels"/>.</param>
    /// <param name="bias">32 floats, or null.</param>
    /// <param name="relu">Whether what is below zero becomes +0.</param>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Row(ConvSegment* segments, float* a, float* b, float* to, nint toStride, int pixels, float* bias, bool relu)
    {
        float* r0 = a + segments[0].A;
        float* r1 = a + segments[1].A;
        float* r2 = a + segments[2].A;
        float* b0 = b + segments[0].B;
        float* b1 = b + segments[1].B;
        float* b2 = b + segments[2].B;
        Vector512<float> u0 = Vector512.Load(b0), v0 = Vector512.Load(b0 + 16);
        Vector512<float> u1 = Vector512.Load(b0 + 32), v1 = Vector512.Load(b0 + 48);
        Vector512<float> u2 = Vector512.Load(b0 + 64), v2 = Vector512.Load(b0 + 80);
        Vector512<float> u3 = Vector512.Load(b1), v3 = Vector512.Load(b1 + 16);
        Vector512<float> u4 = Vector512.Load(b1 + 32), v4 = Vector512.Load(b1 + 48);
        Vector512<float> u5 = Vector512.Load(b1 + 64), v5 = Vector512.Load(b1 + 80);
        Vector512<float> u6 = Vector512.Load(b2), v6 = Vector512.Load(b2 + 16);
        Vector512<float> u7 = Vector512.Load(b2 + 32), v7 = Vector512.Load(b2 + 48);
        Vector512<float> u8 = Vector512.Load(b2 + 64), v8 = Vector512.Load(b2 + 80);
        nint s3 = 3 * toStride;
        for (int x = 0; ; x += 4)
        {
            if (x > pixels - 4)
            {
                if (x >= pixels) return;
                // The last four begin earlier and compute some pixels once more.
                x = pixels - 4;
            }
            Vector512<float> c0 = Vector512<float>.Zero, d0 = Vector512<float>.Zero;
            Vector512<float> c1 = Vector512<float>.Zero, d1 = Vector512<float>.Zero;
            Vector512<float> c2 = Vector512<float>.Zero, d2 = Vector512<float>.Zero;
            Vector512<float> c3 = Vector512<float>.Zero, d3 = Vector512<float>.Zero;
            Step(r0 + x, u0, v0, ref c0, ref d0);
            Step(r0 + x + 1, u0, v0, ref c1, ref d1);
            Step(r0 + x + 2, u0, v0, ref c2, ref d2);
            Step(r0 + x + 3, u0, v0, ref c3, ref d3);
            Step(r0 + x + 1, u1, v1, ref c0, ref d0);
            Step(r0 + x + 2, u1, v1, ref c1, ref d1);
            Step(r0 + x + 3, u1, v1, ref c2, ref d2);
            Step(r0 + x + 4, u1, v1, ref c3, ref d3);
            Step(r0 + x + 2, u2, v2, ref c0, ref d0);
            Step(r0 + x + 3, u2, v2, ref c1, ref d1);
            Step(r0 + x + 4, u2, v2, ref c2, ref d2);
            Step(r0 + x + 5, u2, v2, ref c3, ref d3);
            Step(r1 + x, u3, v3, ref c0, ref d0);
            Step(r1 + x + 1, u3, v3, ref c1, ref d1);
            Step(r1 + x + 2, u3, v3, ref c2, ref d2);
            Step(r1 + x + 3, u3, v3, ref c3, ref d3);
            Step(r1 + x + 1, u4, v4, ref c0, ref d0);
            Step(r1 + x + 2, u4, v4, ref c1, ref d1);
            Step(r1 + x + 3, u4, v4, ref c2, ref d2);
            Step(r1 + x + 4, u4, v4, ref c3, ref d3);
            Step(r1 + x + 2, u5, v5, ref c0, ref d0);
            Step(r1 + x + 3, u5, v5, ref c1, ref d1);
            Step(r1 + x + 4, u5, v5, ref c2, ref d2);
            Step(r1 + x + 5, u5, v5, ref c3, ref d3);
            Step(r2 + x, u6, v6, ref c0, ref d0);
            Step(r2 + x + 1, u6, v6, ref c1, ref d1);
            Step(r2 + x + 2, u6, v6, ref c2, ref d2);
            Step(r2 + x + 3, u6, v6, ref c3, ref d3);
            Step(r2 + x + 1, u7, v7, ref c0, ref d0);
            Step(r2 + x + 2, u7, v7, ref c1, ref d1);
            Step(r2 + x + 3, u7, v7, ref c2, ref d2);
            Step(r2 + x + 4, u7, v7, ref c3, ref d3);
            Step(r2 + x + 2, u8, v8, ref c0, ref d0);
            Step(r2 + x + 3, u8, v8, ref c1, ref d1);
            Step(r2 + x + 4, u8, v8, ref c2, ref d2);
            Step(r2 + x + 5, u8, v8, ref c3, ref d3);
            if (bias != null)
            {
                Vector512<float> addC = Vector512.Load(bias), addD = Vector512.Load(bias + 16);
                c0 += addC;
                d0 += addD;
                c1 += addC;
                d1 += addD;
                c2 += addC;
                d2 += addD;
                c3 += addC;
                d3 += addD;
            }
            if (relu)
            {
                c0 = Relu(c0);
                d0 = Relu(d0);
                c1 = Relu(c1);
                d1 = Relu(d1);
                c2 = Relu(c2);
                d2 = Relu(d2);
                c3 = Relu(c3);
                d3 = Relu(d3);
            }
            float* target = to + (x * toStride);
            c0.Store(target);
            d0.Store(target + 16);
            c1.Store(target + toStride);
            d1.Store(target + toStride + 16);
            c2.Store(target + (2 * toStride));
            d2.Store(target + (2 * toStride) + 16);
            c3.Store(target + s3);
            d3.Store(target + s3 + 16);
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Step(float* a, Vector512<float> u, Vector512<float> v, ref Vector512<float> c, ref Vector512<float> d)
    {
        Vector512<float> x = Vector512.Create(*a);
        c = Avx512F.FusedMultiplyAdd(x, u, c);
        d = Avx512F.FusedMultiplyAdd(x, v, d);
    }

    // As ReluOperator: below zero becomes +0, -0 and NaN stay.
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector512<float> Relu(Vector512<float> c) =>
        Vector512.ConditionalSelect(Vector512.LessThan(c, Vector512<float>.Zero), Vector512<float>.Zero, c);
}
