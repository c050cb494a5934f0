namespace DistTrain.Kernels.Reference;

/// <summary>The functions of <see cref="LaneMath"/> for one float, in plain C#: the oracle of their bits.</summary>
internal static partial class ReferenceFunctions
{
    public static float Exp(float x)
    {
        if (x > 89f) x = 89f;
        if (x < -104f) x = -104f;
        int n = Exponent(x, out float r);
        return TimesPowerOfTwo(1f + Expm1Polynomial(r), n);
    }

    public static float Log(float x)
    {
        if (float.IsNaN(x) || x == float.PositiveInfinity) return x;
        if (x == 0) return float.NegativeInfinity;
        if (x < 0) return float.NaN;
        bool denormal = x < 1.17549435e-38f;
        int moved = BitConverter.SingleToInt32Bits(denormal ? x * 8388608f : x) - 0x3F3504F3;
        float e = (moved >> 23) - (denormal ? 23f : 0f);
        float f = BitConverter.Int32BitsToSingle((moved & 0x007FFFFF) + 0x3F3504F3) - 1f;
        return LogPolynomial(f, e);
    }

    public static float Tanh(float x)
    {
        if (float.IsNaN(x)) return x;
        float size = MathF.Abs(x);
        if (size < 0.625f)
        {
            float u = x * x;
            float t = Polynomial(u, 0.00229280721f, -0.00834400021f, 0.021768935f, -0.0539592616f, 0.133333042f, -0.333333343f);
            return MathF.CopySign(MathF.FusedMultiplyAdd(t, u * x, x), x);
        }
        return MathF.CopySign(1f - (2f / (Exp(size + size) + 1f)), x);
    }

    public static float Sigmoid(float x)
    {
        float t = SigmoidTail(1f, x);
        return x < 0 ? t : 1f - t;
    }

    public static float Relu(float x) => x < 0 ? 0f : x;

    public static float Activate(Activation activation, float x) => activation switch
    {
        Activation.Relu => Relu(x),
        Activation.Sigmoid => Sigmoid(x),
        Activation.Tanh => Tanh(x),
        _ => x,
    };

    public static float ActivateBackward(Activation activation, float dy, float y) => activation switch
    {
        Activation.Relu => y > 0 ? dy : 0f,
        Activation.Sigmoid => dy * (y * (1f - y)),
        Activation.Tanh => dy * MathF.FusedMultiplyAdd(-y, y, 1f),
        _ => dy,
    };

    private static float Polynomial(float x, params ReadOnlySpan<float> highestFirst)
    {
        float sum = highestFirst[0];
        for (int i = 1; i < highestFirst.Length; i++) sum = MathF.FusedMultiplyAdd(sum, x, highestFirst[i]);
        return sum;
    }

    private static int Exponent(float x, out float r)
    {
        float n = MathF.FusedMultiplyAdd(x, 1.44269502f, 12582912f) - 12582912f;
        r = MathF.FusedMultiplyAdd(n, -1.42860677e-06f, MathF.FusedMultiplyAdd(n, -0.693145751953125f, x));
        return float.IsNaN(n) ? 0 : (int)n;
    }

    private static float Expm1Polynomial(float r)
    {
        float q = Polynomial(r, 0.000198911031f, 0.0013933751f, 0.00833331048f, 0.041666463f, 0.166666672f, 0.5f);
        return MathF.FusedMultiplyAdd(q, r * r, r);
    }

    private static float LogPolynomial(float f, float e)
    {
        float p = Polynomial(
            f, 0.0697427541f, -0.114818826f, 0.116854988f, -0.124254234f, 0.142490223f, -0.166678116f, 0.20000717f, -0.24999997f, 0.333333313f);
        float square = f * f;
        float tail = MathF.FusedMultiplyAdd(p, square * f, MathF.FusedMultiplyAdd(e, 1.42860677e-06f, square * -0.5f));
        return MathF.FusedMultiplyAdd(e, 0.693145751953125f, f + tail);
    }

    private static float SigmoidTail(float a, float v)
    {
        float size = MathF.Abs(v);
        int n = -Exponent(size > 120f ? 120f : size, out float r);
        float power = TimesPowerOfTwo(1f, n);
        float sum = 1f + power;
        return TimesPowerOfTwo(a / (sum + (Expm1Polynomial(r) + (power - (sum - 1f)))), n);
    }

    /// <summary>a · 2^n, rounded once.</summary>
    private static float TimesPowerOfTwo(float a, int n)
    {
        int half = n >> 1;
        return a * PowerOfTwo(half) * PowerOfTwo(n - half);
    }

    private static float PowerOfTwo(int n) => BitConverter.Int32BitsToSingle((n + 127) << 23);
}
