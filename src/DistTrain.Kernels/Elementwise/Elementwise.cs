namespace DistTrain.Kernels;

/// <summary>
/// Elementwise kernels over contiguous fp32 arrays of <c>length</c> values. The output may be one of the inputs
/// itself (in place) or lie apart; anything between is an <see cref="ArgumentException"/>. A pool splits the elements
/// over its threads when there are enough of them; null runs on the caller. Every element is computed alone, so the
/// bits depend on nothing but its operands. Functions are at most 2 ulp off.
/// </summary>
public static unsafe class Elementwise
{
    /// <summary>y = x.</summary>
    public static void Copy(float* x, float* y, nint length, KernelPool? pool = null) =>
        Traversal.Unary(default(CopyOperator), x, y, length, pool);

    /// <summary>x = value.</summary>
    public static void Fill(float* x, nint length, float value)
    {
        Guard.Length(length, nameof(length));
        Guard.NotNull(x, length, nameof(x));
        for (; length > int.MaxValue; x += int.MaxValue, length -= int.MaxValue) new Span<float>(x, int.MaxValue).Fill(value);
        new Span<float>(x, (int)length).Fill(value);
    }

    /// <summary>z = x + y: how two segments join.</summary>
    public static void Add(float* x, float* y, float* z, nint length, KernelPool? pool = null) =>
        Traversal.Binary(default(AddOperator), x, y, z, length, pool);

    /// <summary>z = x - y.</summary>
    public static void Subtract(float* x, float* y, float* z, nint length, KernelPool? pool = null) =>
        Traversal.Binary(default(SubtractOperator), x, y, z, length, pool);

    /// <summary>z = x · y.</summary>
    public static void Multiply(float* x, float* y, float* z, nint length, KernelPool? pool = null) =>
        Traversal.Binary(default(MultiplyOperator), x, y, z, length, pool);

    /// <summary>z = factor · x + y, fused: rounded once.</summary>
    public static void ScaleAdd(float factor, float* x, float* y, float* z, nint length, KernelPool? pool = null) =>
        Traversal.Binary(new ScaleAddOperator(factor), x, y, z, length, pool);

    /// <summary>y = factor · x.</summary>
    public static void Scale(float factor, float* x, float* y, nint length, KernelPool? pool = null) =>
        Traversal.Unary(new ScaleOperator(factor), x, y, length, pool);

    /// <summary>y = x, cut to [-limit, limit]; NaN stays.</summary>
    /// <param name="limit">Not negative.</param>
    /// <param name="x">(length).</param>
    /// <param name="y">(length): x itself, or apart from it.</param>
    /// <param name="length">How many elements.</param>
    /// <param name="pool">Null for the caller alone.</param>
    public static void Clamp(float limit, float* x, float* y, nint length, KernelPool? pool = null) =>
        Traversal.Unary(new ClampOperator(limit), x, y, length, pool);

    /// <summary>z = y + step where x is above 0, y - step where it is below, else y: a step along the signs of x.</summary>
    public static void AddSigns(float step, float* x, float* y, float* z, nint length, KernelPool? pool = null) =>
        Traversal.Binary(new AddSignsOperator(step), x, y, z, length, pool);

    /// <summary>y = x / divisor, a true division of every element.</summary>
    public static void Divide(float divisor, float* x, float* y, nint length, KernelPool? pool = null) =>
        Traversal.Unary(new DivideOperator(divisor), x, y, length, pool);

    /// <summary>y = √x, exactly rounded.</summary>
    public static void Sqrt(float* x, float* y, nint length, KernelPool? pool = null) =>
        Traversal.Unary(default(SqrtOperator), x, y, length, pool);

    /// <summary>y = e^x.</summary>
    public static void Exp(float* x, float* y, nint length, KernelPool? pool = null) =>
        Traversal.Unary(default(ExpOperator), x, y, length, pool);

    /// <summary>y = ln x: -∞ at zero, NaN below.</summary>
    public static void Log(float* x, float* y, nint length, KernelPool? pool = null) =>
        Traversal.Unary(default(LogOperator), x, y, length, pool);

    /// <summary>y = tanh x.</summary>
    public static void Tanh(float* x, float* y, nint length, KernelPool? pool = null) =>
        Traversal.Unary(default(TanhOperator), x, y, length, pool);

    /// <summary>y = 1 / (1 + e^-x).</summary>
    public static void Sigmoid(float* x, float* y, nint length, KernelPool? pool = null) =>
        Traversal.Unary(default(SigmoidOperator), x, y, length, pool);

    /// <summary>y = x where x is not below zero (NaN included), else +0.</summary>
    public static void Relu(float* x, float* y, nint length, KernelPool? pool = null) =>
        Traversal.Unary(default(ReluOperator), x, y, length, pool);

    /// <summary>y = activation(x).</summary>
    public static void Activate(Activation activation, float* x, float* y, nint length, KernelPool? pool = null)
    {
        switch (activation)
        {
            case Activation.Relu: Relu(x, y, length, pool); break;
            case Activation.Sigmoid: Sigmoid(x, y, length, pool); break;
            case Activation.Tanh: Tanh(x, y, length, pool); break;
            default: Copy(x, y, length, pool); break;
        }
    }

    /// <summary>
    /// The gradient at an activation's input from that at its output: dx = dy · f'. The derivative is taken from the
    /// output <paramref name="y"/>: relu dy where y &gt; 0, else +0; sigmoid dy·(y·(1-y)); tanh dy·(1-y²).
    /// </summary>
    public static void ActivateBackward(Activation activation, float* dy, float* y, float* dx, nint length, KernelPool? pool = null)
    {
        switch (activation)
        {
            case Activation.Relu: Traversal.Binary(default(ReluGradientOperator), dy, y, dx, length, pool); break;
            case Activation.Sigmoid: Traversal.Binary(default(SigmoidGradientOperator), dy, y, dx, length, pool); break;
            case Activation.Tanh: Traversal.Binary(default(TanhGradientOperator), dy, y, dx, length, pool); break;
            default: Copy(dy, dx, length, pool); break;
        }
    }
}
