namespace DistTrain.Kernels;

/// <summary>The formula of an elementwise operation on one operand.</summary>
internal interface IUnaryOperator
{
    T Apply<T>(T x)
        where T : struct, IArithmetic<T>;
}

/// <summary>The formula of an elementwise operation on two operands.</summary>
internal interface IBinaryOperator
{
    T Apply<T>(T x, T y)
        where T : struct, IArithmetic<T>;
}

internal readonly struct CopyOperator : IUnaryOperator
{
    public T Apply<T>(T x)
        where T : struct, IArithmetic<T> => x;
}

/// <summary>x below zero becomes +0; -0 and NaN stay.</summary>
internal readonly struct ReluOperator : IUnaryOperator
{
    public T Apply<T>(T x)
        where T : struct, IArithmetic<T> => T.Select(T.LessThan(x, T.Zero), T.Zero, x);
}

internal readonly struct SigmoidOperator : IUnaryOperator
{
    public T Apply<T>(T x)
        where T : struct, IArithmetic<T> => LaneMath.Sigmoid(x);
}

internal readonly struct TanhOperator : IUnaryOperator
{
    public T Apply<T>(T x)
        where T : struct, IArithmetic<T> => LaneMath.Tanh(x);
}

internal readonly struct ExpOperator : IUnaryOperator
{
    public T Apply<T>(T x)
        where T : struct, IArithmetic<T> => LaneMath.Exp(x);
}

internal readonly struct LogOperator : IUnaryOperator
{
    public T Apply<T>(T x)
        where T : struct, IArithmetic<T> => LaneMath.Log(x);
}

internal readonly struct SqrtOperator : IUnaryOperator
{
    public T Apply<T>(T x)
        where T : struct, IArithmetic<T> => T.Sqrt(x);
}

internal readonly struct ScaleOperator(float factor) : IUnaryOperator
{
    public T Apply<T>(T x)
        where T : struct, IArithmetic<T> => x * T.Broadcast(factor);
}

/// <summary>Above the limit becomes the limit, below -limit -limit; NaN stays.</summary>
internal readonly struct ClampOperator(float limit) : IUnaryOperator
{
    public T Apply<T>(T x)
        where T : struct, IArithmetic<T>
    {
        T high = T.Broadcast(limit), low = T.Broadcast(-limit);
        x = T.Select(T.LessThan(high, x), high, x);
        return T.Select(T.LessThan(x, low), low, x);
    }
}

internal readonly struct DivideOperator(float divisor) : IUnaryOperator
{
    public T Apply<T>(T x)
        where T : struct, IArithmetic<T> => x / T.Broadcast(divisor);
}

internal readonly struct AddOperator : IBinaryOperator
{
    public T Apply<T>(T x, T y)
        where T : struct, IArithmetic<T> => x + y;
}

internal readonly struct SubtractOperator : IBinaryOperator
{
    public T Apply<T>(T x, T y)
        where T : struct, IArithmetic<T> => x - y;
}

internal readonly struct MultiplyOperator : IBinaryOperator
{
    public T Apply<T>(T x, T y)
        where T : struct, IArithmetic<T> => x * y;
}

/// <summary>y moved by a step along the sign of x; NaN has none.</summary>
internal readonly struct AddSignsOperator(float step) : IBinaryOperator
{
    public T Apply<T>(T x, T y)
        where T : struct, IArithmetic<T>
    {
        T by = T.Broadcast(step);
        return T.Select(T.LessThan(T.Zero, x), y + by, T.Select(T.LessThan(x, T.Zero), y - by, y));
    }
}

/// <summary>fma(factor, x, y).</summary>
internal readonly struct ScaleAddOperator(float factor) : IBinaryOperator
{
    public T Apply<T>(T x, T y)
        where T : struct, IArithmetic<T> => T.Fma(T.Broadcast(factor), x, y);
}

/// <summary>fma(share, x - y, y): y itself where they are equal.</summary>
internal readonly struct ApproachOperator(float share) : IBinaryOperator
{
    public T Apply<T>(T x, T y)
        where T : struct, IArithmetic<T> => T.Fma(T.Broadcast(share), x - y, y);
}

/// <summary>From the gradient g and the activation's output y: g where y is above zero, else +0.</summary>
internal readonly struct ReluGradientOperator : IBinaryOperator
{
    public T Apply<T>(T g, T y)
        where T : struct, IArithmetic<T> => T.And(T.LessThan(T.Zero, y), g);
}

/// <summary>g · (y · (1 - y)).</summary>
internal readonly struct SigmoidGradientOperator : IBinaryOperator
{
    public T Apply<T>(T g, T y)
        where T : struct, IArithmetic<T> => g * (y * (T.Broadcast(1f) - y));
}

/// <summary>g · (1 - y·y), the parenthesis fused and rounded once.</summary>
internal readonly struct TanhGradientOperator : IBinaryOperator
{
    public T Apply<T>(T g, T y)
        where T : struct, IArithmetic<T> => g * T.Fma(T.Zero - y, y, T.Broadcast(1f));
}
