namespace DistTrain.Kernels;

/// <summary>
/// The activations that <see cref="Activation"/> does not name: forward y = f(x), backward dx = dy · f'. Arrays of
/// <c>length</c> values, contiguous; what may be in place, and threads, as in <see cref="Elementwise"/>.
/// Forward functions are at most 2 ulp off where nothing else is said. Infinities give the limits (GELU and SiLU of
/// -∞ are -0).
/// </summary>
public static unsafe class Activations
{
    /// <summary>y = x above zero, else slope · x (NaN included).</summary>
    public static void LeakyRelu(float slope, float* x, float* y, nint length, KernelPool? pool = null) =>
        Traversal.Unary(new LeakyReluOperator(slope), x, y, length, pool);

    /// <summary>
    /// dx = dy where <paramref name="v"/> is above zero, else slope · dy; v is the input, or for a slope from zero up
    /// the output if that is what was kept.
    /// </summary>
    public static void LeakyReluBackward(float slope, float* dy, float* v, float* dx, nint length, KernelPool? pool = null) =>
        Traversal.Binary(new LeakyReluGradientOperator(slope), dy, v, dx, length, pool);

    /// <summary>y = x from zero up, else alpha · (e^x - 1) (Clevert et al., 2016).</summary>
    public static void Elu(float alpha, float* x, float* y, nint length, KernelPool? pool = null) =>
        Traversal.Unary(new EluOperator(alpha), x, y, length, pool);

    /// <summary>From the output y, for alpha from zero up: dx = dy where y is above zero, else dy · (y + alpha).</summary>
    public static void EluBackward(float alpha, float* dy, float* y, float* dx, nint length, KernelPool? pool = null) =>
        Traversal.Binary(new EluGradientOperator(alpha), dy, y, dx, length, pool);

    /// <summary>y = x Φ(x), Φ the normal distribution (Hendrycks and Gimpel, 2016): GELU by erf.</summary>
    public static void Gelu(float* x, float* y, nint length, KernelPool? pool = null) =>
        Traversal.Unary(default(GeluOperator), x, y, length, pool);

    /// <summary>From the input: dx = dy · (Φ(x) + x φ(x)).</summary>
    public static void GeluBackward(float* dy, float* x, float* dx, nint length, KernelPool? pool = null) =>
        Traversal.Binary(default(GeluGradientOperator), dy, x, dx, length, pool);

    /// <summary>
    /// y = ½ x (1 + tanh(√(2/π) (x + 0.044715 x³))). The argument v of x / (1 + e^-v) is a rounded float, which adds an
    /// error of up to |v| ulp for negative x.
    /// </summary>
    public static void GeluTanh(float* x, float* y, nint length, KernelPool? pool = null) =>
        Traversal.Unary(default(GeluTanhOperator), x, y, length, pool);

    /// <summary>From the input: the derivative of <see cref="GeluTanh"/>.</summary>
    public static void GeluTanhBackward(float* dy, float* x, float* dx, nint length, KernelPool? pool = null) =>
        Traversal.Binary(default(GeluTanhGradientOperator), dy, x, dx, length, pool);

    /// <summary>y = x / (1 + e^-x): SiLU, also called swish.</summary>
    public static void Silu(float* x, float* y, nint length, KernelPool? pool = null) =>
        Traversal.Unary(default(SiluOperator), x, y, length, pool);

    /// <summary>From the input, s its sigmoid: dx = dy · (s + x s (1 - s)).</summary>
    public static void SiluBackward(float* dy, float* x, float* dx, nint length, KernelPool? pool = null) =>
        Traversal.Binary(default(SiluGradientOperator), dy, x, dx, length, pool);

    /// <summary>y = ln(1 + e^x), without the threshold that hides its tail elsewhere.</summary>
    public static void Softplus(float* x, float* y, nint length, KernelPool? pool = null) =>
        Traversal.Unary(default(SoftplusOperator), x, y, length, pool);

    /// <summary>From the input: dx = dy / (1 + e^-x).</summary>
    public static void SoftplusBackward(float* dy, float* x, float* dx, nint length, KernelPool? pool = null) =>
        Traversal.Binary(default(SoftplusGradientOperator), dy, x, dx, length, pool);

    /// <summary>y = erf x.</summary>
    public static void Erf(float* x, float* y, nint length, KernelPool? pool = null) =>
        Traversal.Unary(default(ErfOperator), x, y, length, pool);

    /// <summary>y = e^x - 1.</summary>
    public static void Expm1(float* x, float* y, nint length, KernelPool? pool = null) =>
        Traversal.Unary(default(Expm1Operator), x, y, length, pool);

    /// <summary>y = ln(1 + x): -∞ at -1, NaN below.</summary>
    public static void Log1p(float* x, float* y, nint length, KernelPool? pool = null) =>
        Traversal.Unary(default(Log1pOperator), x, y, length, pool);

    /// <summary>y = 1 / x, exactly rounded.</summary>
    public static void Reciprocal(float* x, float* y, nint length, KernelPool? pool = null) =>
        Traversal.Unary(default(ReciprocalOperator), x, y, length, pool);
}
