namespace DistTrain.Kernels;

/// <summary>d·d with d = p - t.</summary>
internal readonly struct SquaredErrorOperator : ILossOperator
{
    public T Add<T>(T prediction, T target, T sum)
        where T : struct, IArithmetic<T>
    {
        T d = prediction - target;
        return T.Fma(d, d, sum);
    }

    public T Gradient<T>(T prediction, T target)
        where T : struct, IArithmetic<T>
    {
        T d = prediction - target;
        return d + d;
    }
}

/// <summary>(d / 2)·d.</summary>
internal readonly struct HalfSquaredErrorOperator : ILossOperator
{
    public T Add<T>(T prediction, T target, T sum)
        where T : struct, IArithmetic<T>
    {
        T d = prediction - target;
        return T.Fma(d * T.Broadcast(0.5f), d, sum);
    }

    public T Gradient<T>(T prediction, T target)
        where T : struct, IArithmetic<T> => prediction - target;
}

/// <summary>|d|; the gradient at 0 is 0.</summary>
internal readonly struct AbsoluteErrorOperator : ILossOperator
{
    public T Add<T>(T prediction, T target, T sum)
        where T : struct, IArithmetic<T> => sum + T.And(prediction - target, T.BroadcastBits(0x7FFFFFFF));

    public T Gradient<T>(T prediction, T target)
        where T : struct, IArithmetic<T>
    {
        // What is neither above nor below 0 stays: zeros and NaN.
        T d = prediction - target;
        return T.Select(T.LessThan(T.Zero, d), T.Broadcast(1f), T.Select(T.LessThan(d, T.Zero), T.Broadcast(-1f), d));
    }
}

/// <summary>With g = d cut to ±delta: g·(d - g/2), which is d²/2 within and delta·(|d| - delta/2) beyond.</summary>
internal readonly struct HuberOperator(float delta) : ILossOperator
{
    public T Add<T>(T prediction, T target, T sum)
        where T : struct, IArithmetic<T>
    {
        T g = Gradient(prediction, target);
        return T.Fma(g, T.Fma(T.Broadcast(-0.5f), g, prediction - target), sum);
    }

    public T Gradient<T>(T prediction, T target)
        where T : struct, IArithmetic<T> => new ClampOperator(delta).Apply(prediction - target);
}

/// <summary>From a logit x and a probability t: max(x, 0) - x·t + ln(1 + e^-|x|), which neither overflows nor cancels.</summary>
internal readonly struct BinaryCrossEntropyOperator : ILossOperator
{
    public T Add<T>(T prediction, T target, T sum)
        where T : struct, IArithmetic<T>
    {
        T minusSize = T.Or(prediction, T.BroadcastBits(int.MinValue));
        T tail = LaneMath.Log1p(LaneMath.Exp(minusSize));
        return sum + (T.Fma(T.Zero - prediction, target, T.Greater(prediction, T.Zero)) + tail);
    }

    public T Gradient<T>(T prediction, T target)
        where T : struct, IArithmetic<T> => LaneMath.Sigmoid(prediction) - target;
}

/// <summary>max(0, margin - t·p).</summary>
internal readonly struct HingeOperator(float margin) : ILossOperator
{
    public T Add<T>(T prediction, T target, T sum)
        where T : struct, IArithmetic<T>
    {
        T v = T.Fma(T.Zero - target, prediction, T.Broadcast(margin));
        return sum + T.Select(T.LessThan(v, T.Zero), T.Zero, v);
    }

    public T Gradient<T>(T prediction, T target)
        where T : struct, IArithmetic<T>
    {
        T v = T.Fma(T.Zero - target, prediction, T.Broadcast(margin));
        return T.And(T.LessThan(T.Zero, v), T.Zero - target);
    }
}
