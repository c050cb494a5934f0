using DistTrain.Kernels.Reference;

namespace DistTrain.Kernels.Tests;

public unsafe class PrecisionTests
{
    private static readonly FloatFormat[] Halves = [FloatFormat.BFloat16, FloatFormat.Float16];

    [Fact]
    public void FromFloat32_DenseSampleOfAllFloats_RoundsToNearestEven()
    {
        var inputs = new List<float>();
        for (ulong bits = 0; bits <= uint.MaxValue; bits += 16_381) inputs.Add(BitConverter.UInt32BitsToSingle((uint)bits));
        // The ties and their neighbours, around all powers of two that fp16 knows.
        for (int exponent = -26; exponent <= 17; exponent++)
            for (int step = 0; step < 4096; step++)
                for (int off = -1; off <= 1; off++)
                    inputs.Add(BitConverter.Int32BitsToSingle(((exponent + 127) << 23) + (step << 11) + off));
        float[] x = [.. inputs];
        ushort[] y = new ushort[x.Length];
        fixed (float* px = x)
        fixed (ushort* py = y)
        {
            foreach (FloatFormat format in Halves)
            {
                foreach (SimdLevel level in TestData.Levels)
                {
                    using var forced = SimdPath.Force(level);
                    Precisions.FromFloat32(px, py, format, x.Length);
                    for (int i = 0; i < x.Length; i++)
                    {
                        ushort expected = format == FloatFormat.BFloat16 ? ReferenceFormats.ToBFloat16(x[i]) : ReferenceFormats.ToFloat16(x[i]);
                        if (float.IsNaN(x[i])) Assert.True(IsNaN(y[i], format), $"NaN became {y[i]:X4} at {level}");
                        else if (expected != y[i]) Assert.Fail($"{x[i]:G9} in {format} should be {expected:X4}, is {y[i]:X4} at {level}");
                    }
                }
            }
        }
    }

    [Fact]
    public void ToFloat32_AllValues_IsExact()
    {
        ushort[] x = [.. Enumerable.Range(0, 65_536).Select(i => (ushort)i)];
        float[] y = new float[x.Length];
        fixed (ushort* px = x)
        fixed (float* py = y)
        {
            foreach (FloatFormat format in Halves)
            {
                float[] expected = [.. x.Select(v => format == FloatFormat.BFloat16 ? ReferenceFormats.FromBFloat16(v) : ReferenceFormats.FromFloat16(v))];
                foreach (SimdLevel level in TestData.Levels)
                {
                    using var forced = SimdPath.Force(level);
                    Precisions.ToFloat32(px, format, py, x.Length);
                    TestData.AssertSameBits(expected, y, $"{format} at {level}");
                }
            }
        }
    }

    [Fact]
    public void Conversions_AllLengthsAtAPageEnd_TouchNothingBeyond()
    {
        for (int length = 0; length <= 70; length++)
        {
            float[] values = TestData.Random(length, length);
            using var wide = new BoundedMemory(length);
            using var narrow = new BoundedMemory((length + 1) / 2);
            ushort* halves = (ushort*)narrow.Pointer + (length % 2);
            foreach (FloatFormat format in Halves)
            {
                foreach (SimdLevel level in TestData.Levels)
                {
                    using var forced = SimdPath.Force(level);
                    values.CopyTo(wide.Span);
                    Precisions.FromFloat32(wide.Pointer, halves, format, length);
                    wide.Span.Clear();
                    Precisions.ToFloat32(halves, format, wide.Pointer, length);
                    TestData.AssertSameBits([.. values.Select(v => ReferenceFormats.Round(v, format))], wide.Span, $"{format} at {level}");
                    values.CopyTo(wide.Span);
                    Precisions.Round(wide.Pointer, format, length);
                    TestData.AssertSameBits([.. values.Select(v => ReferenceFormats.Round(v, format))], wide.Span, $"in place, {format} at {level}");
                }
            }
        }
    }

    [Fact]
    public void Conversions_Overlapping_Throws()
    {
        using var x = new NativeBuffer(64);
        Assert.Throws<ArgumentException>(() => Precisions.FromFloat32(x.Pointer, x.Pointer, FloatFormat.BFloat16, 64));
        Assert.Throws<ArgumentOutOfRangeException>(() => Precisions.FromFloat32(x.Pointer, x.Pointer, (FloatFormat)9, 64));
    }

    private static bool IsNaN(ushort bits, FloatFormat format) =>
        float.IsNaN(format == FloatFormat.BFloat16 ? ReferenceFormats.FromBFloat16(bits) : ReferenceFormats.FromFloat16(bits));
}
