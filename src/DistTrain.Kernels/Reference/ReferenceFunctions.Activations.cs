namespace DistTrain.Kernels.Reference;

/// <content>The functions that the activations need, and the activations.</content>
internal static unsafe partial class ReferenceFunctions
{
    public static float Expm1(float x)
    {
        if (float.IsNaN(x)) return x;
        int n = Exponent(Math.Clamp(x, -18f, 89f), out float r);
        float half = TimesPowerOfTwo(0.5f, n);
        float result = MathF.FusedMultiplyAdd(half, Expm1Polynomial(r), half - 0.5f);
        return MathF.CopySign(result + result, x);
    }

    public static float Log1p(float x)
    {
        if (float.IsNaN(x) || x == float.PositiveInfinity) return x;
        if (x < -1f) return float.NaN;
        return x == -1f ? float.NegativeInfinity : MathF.CopySign(Log1pFinite(x), x);
    }

    public static float Softplus(float x) => (x > 0 ? x : 0f) + Log1pFinite(Exp(-MathF.Abs(x)));

    public static float Silu(float x) => TimesSigmoid(x, x, 120f);

    public static float SiluDerivative(float x)
    {
        if (!float.IsNaN(x)) x = Math.Clamp(x, -120f, 120f);
        float s = Sigmoid(x);
        return MathF.FusedMultiplyAdd(x * s, 1f - s, s);
    }

    public static float LeakyRelu(float slope, float x) => x > 0 ? x : x * slope;

    public static float LeakyReluBackward(float slope, float dy, float v) => v > 0 ? dy : dy * slope;

    public static float Elu(float alpha, float x) => x < 0 ? alpha * Expm1(x) : x;

    public static float EluBackward(float alpha, float dy, float y) => y > 0 ? dy : dy * (y + alpha);

    public static float Erf(float x)
    {
        if (float.IsNaN(x)) return x;
        float size = MathF.Min(MathF.Abs(x), 3.999f);
        int piece = (int)MathF.Round(MathF.FusedMultiplyAdd(size, 3.875f, 12582912f) - 12582912f);
        float* table = FunctionTables.Erf + piece;
        float start = piece == 0 ? size : table[FunctionTables.Row];
        return MathF.CopySign(start + Piecewise(table, size - table[0]), x);
    }

    public static float Gelu(float x)
    {
        if (float.IsNaN(x)) return x;
        float size = MathF.Min(MathF.Abs(x), 14.75f);
        int n = NormalTail(size, out float c0, out float w, out float p);
        float product = size * c0;
        float lost = MathF.FusedMultiplyAdd(size, c0, -product);
        float rest = MathF.FusedMultiplyAdd(size, MathF.FusedMultiplyAdd(p, c0 + w, w), lost);
        return MathF.CopySign((x > 0 ? x : 0f) - TimesPowerOfTwo(product + rest, n), x);
    }

    public static float GeluDerivative(float x)
    {
        if (float.IsNaN(x)) return x;
        float size = MathF.Min(MathF.Abs(x), 14.75f);
        int n = NormalTail(size, out float c0, out float w, out float p);
        float e = TimesPowerOfTwo(1f + p, n);
        float tail = (c0 + w) * e;
        return MathF.FusedMultiplyAdd(MathF.CopySign(size, x), e * 0.398942292f, x < 0 ? tail : 1f - tail);
    }

    public static float GeluTanh(float x) =>
        TimesSigmoid(x, x * MathF.FusedMultiplyAdd(x * x, 0.0713548163f, 1.59576917f), 14f);

    public static float GeluTanhDerivative(float x)
    {
        if (!float.IsNaN(x)) x = Math.Clamp(x, -14f, 14f);
        float s = Sigmoid(x * MathF.FusedMultiplyAdd(x * x, 0.0713548163f, 1.59576917f));
        float slope = MathF.FusedMultiplyAdd(x * x, 0.214064449f, 1.59576917f);
        return MathF.FusedMultiplyAdd(x * s * (1f - s), slope, s);
    }

    private static float Log1pFinite(float x)
    {
        float u = 1f + x;
        float c = x - (u - 1f);
        int moved = BitConverter.SingleToInt32Bits(u) - 0x3F3504F3;
        int e = moved >> 23;
        float m = BitConverter.Int32BitsToSingle((moved & 0x007FFFFF) + 0x3F3504F3);
        return LogPolynomial((m - 1f) + TimesPowerOfTwo(c, -e), e);
    }

    private static float TimesSigmoid(float x, float v, float limit)
    {
        float size = MathF.Abs(x);
        float tail = SigmoidTail(size > limit ? limit : size, v);
        return MathF.CopySign((x > 0 ? x : 0f) - tail, x);
    }

    private static int NormalTail(float t, out float c0, out float w, out float p)
    {
        float half = 0.5f * t;
        float square = t * half;
        float lost = MathF.FusedMultiplyAdd(t, half, -square);
        float n = MathF.FusedMultiplyAdd(square, -1.44269502f, 12582912f) - 12582912f;
        float high = -MathF.FusedMultiplyAdd(n, 0.693145751953125f, square);
        float low = -MathF.FusedMultiplyAdd(n, 1.42860677e-06f, lost);
        float r = high + low;
        p = Expm1Polynomial(r) + ((high - r) + low);
        float* table = FunctionTables.NormalTail + ((BitConverter.SingleToInt32Bits(1f + t) - 0x3F800000) >> 21);
        c0 = table[FunctionTables.Row];
        w = Piecewise(table, t - table[0]);
        return (int)n;
    }

    private static float Piecewise(float* table, float d)
    {
        float sum = table[7 * FunctionTables.Row];
        for (int i = 6; i >= 2; i--) sum = MathF.FusedMultiplyAdd(sum, d, table[i * FunctionTables.Row]);
        return sum * d;
    }
}
