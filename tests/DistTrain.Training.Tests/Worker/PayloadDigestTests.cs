using System.Runtime.InteropServices;
using DistTrain.Training.Worker;

namespace DistTrain.Training.Tests.Worker;

public class PayloadDigestTests
{
    [Fact]
    public void Of_OneBitFlipped_IsAnother()
    {
        foreach (int length in (int[])[1, 2, 7, 8, 15, 16, 17, 64])
        {
            float[] values = [.. Enumerable.Range(0, length).Select(i => i * 0.37f)];
            ulong digest = PayloadDigest.Of(values);
            Assert.Equal(digest, PayloadDigest.Of([.. values]));
            Span<uint> bits = MemoryMarshal.Cast<float, uint>(values.AsSpan());
            for (int bit = 0; bit < 32 * length; bit++)
            {
                bits[bit / 32] ^= 1u << (bit % 32);
                Assert.NotEqual(digest, PayloadDigest.Of(values));
                bits[bit / 32] ^= 1u << (bit % 32);
            }
        }
    }

    [Fact]
    public void Of_ValuesInAnotherOrder_IsAnother()
    {
        float[] values = [.. Enumerable.Range(0, 32).Select(i => i + 1f)];
        ulong digest = PayloadDigest.Of(values);
        for (int a = 0; a < values.Length; a++)
        {
            for (int b = 0; b < a; b++)
            {
                (values[a], values[b]) = (values[b], values[a]);
                Assert.NotEqual(digest, PayloadDigest.Of(values));
                (values[a], values[b]) = (values[b], values[a]);
            }
        }
    }

    [Fact]
    public void Of_Nothing_IsNotThatOfZero() => Assert.NotEqual(PayloadDigest.Of([]), PayloadDigest.Of([0]));
}
