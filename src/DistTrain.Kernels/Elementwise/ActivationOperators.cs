namespace DistTrain.Kernels;

/// <summary>x above zero, else slope · x.</summary>
internal readonly struct LeakyReluOperator(float slope) : IUnaryOperator
{
    public T Apply<T>(T x)
        where T : struct, IArithmetic<T> => T.Select(T.LessThan(T.Zero, x), x, x * T.Broadcast(slope));
}

/// <summary>From the gradient g and the activation's input or output v: g where v is above zero, else slope · g.</summary>
internal readonly struct LeakyReluGradientOperator(float slope) : IBinaryOperator
{
    public T Apply<T>(T g, T v)
        where T : struct, IArithmetic<T> => T.Select(T.LessThan(T.Zero, v), g, g * T.Broadcast(slope));
}

/// <summary>x from zero up, else alpha · (e^x - 1).</summary>
internal readonly struct EluOperator(float alpha) : IUnaryOperator
{
    public T Apply<T>(T x)
        where T : struct, IArithmetic<T> => T.Select(T.LessThan(x, T.Zero), T.Broadcast(alpha) * LaneMath.Expm1(x), x);
}

/// <summary>From the gradient g and the output y: g where y is above zero, else g · (y + alpha).</summary>
internal readonly struct EluGradientOperator(float alpha) : IBinaryOperator
{
    public T Apply<T>(T g, T y)
        where T : struct, IArithmetic<T> => T.Select(T.LessThan(T.Zero, y), g, g * (y + T.Broadcast(alpha)));
}

internal readonly struct GeluOperator : IUnaryOperator
{
    public T Apply<T>(T x)
        where T : struct, IArithmetic<T> => LaneMath.Gelu(x);
}

internal readonly struct GeluGradientOperator : IBinaryOperator
{
    public T Apply<T>(T g, T x)
        where T : struct, IArithmetic<T> => g * LaneMath.GeluDerivative(x);
}

internal readonly struct GeluTanhOperator : IUnaryOperator
{
    public T Apply<T>(T x)
        where T : struct, IArithmetic<T> => LaneMath.GeluTanh(x);
}

internal readonly struct GeluTanhGradientOperator : IBinaryOperator
{
    public T Apply<T>(T g, T x)
        where T : struct, IArithmetic<T> => g * LaneMath.GeluTanhDerivative(x);
}

internal readonly struct SiluOperator : IUnaryOperator
{
    public T Apply<T>(T x)
        where T : struct, IArithmetic<T> => LaneMath.Silu(x);
}

internal readonly struct SiluGradientOperator : IBinaryOperator
{
    public T Apply<T>(T g, T x)
        where T : struct, IArithmetic<T> => g * LaneMath.SiluDerivative(x);
}

internal readonly struct SoftplusOperator : IUnaryOperator
{
    public T Apply<T>(T x)
        where T : struct, IArithmetic<T> => LaneMath.Softplus(x);
}

/// <summary>From the gradient g and the input x: g · sigmoid(x).</summary>
internal readonly struct SoftplusGradientOperator : IBinaryOperator
{
    public T Apply<T>(T g, T x)
        where T : struct, IArithmetic<T> => g * LaneMath.Sigmoid(x);
}

internal readonly struct ErfOperator : IUnaryOperator
{
    public T Apply<T>(T x)
        where T : struct, IArithmetic<T> => LaneMath.Erf(x);
}

internal readonly struct Expm1Operator : IUnaryOperator
{
    public T Apply<T>(T x)
        where T : struct, IArithmetic<T> => LaneMath.Expm1(x);
}

internal readonly struct Log1pOperator : IUnaryOperator
{
    public T Apply<T>(T x)
        where T : struct, IArithmetic<T> => LaneMath.Log1p(x);
}

internal readonly struct ReciprocalOperator : IUnaryOperator
{
    public T Apply<T>(T x)
        where T : struct, IArithmetic<T> => T.Broadcast(1f) / x;
}
