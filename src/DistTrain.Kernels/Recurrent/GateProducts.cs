using System.Runtime.CompilerServices;

namespace DistTrain.Kernels;

/// <summary>
/// What the gates of a step are made of: the products with its input and with the state before it, and their biases.
/// A pre-activation is (x·W + h·U) + (b + c), the biases missing where they are null.
/// </summary>
public unsafe struct GateProducts
{
    /// <summary>(rows, G·H): x·W.</summary>
    public float* Input;

    /// <summary>(rows, G·H): h·U.</summary>
    public float* State;

    /// <summary>(G·H): b; null for none.</summary>
    public float* InputBias;

    /// <summary>(G·H): c; null for none.</summary>
    public float* StateBias;

    /// <summary>The same for one row.</summary>
    internal readonly GateProducts Row(nint row, nint width)
    {
        GateProducts products = this;
        products.Input += row * width;
        products.State += row * width;
        return products;
    }

    internal readonly void Check(nint rows)
    {
        Guard.NotNull(Input, rows, nameof(Input));
        Guard.NotNull(State, rows, nameof(State));
    }

    /// <summary>x·W + b.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal readonly TVector OfInput<TVector, TBlock>(TBlock block, nint at)
        where TVector : struct, IArithmetic<TVector>
        where TBlock : struct, IBlock<TVector>
    {
        TVector product = block.Load(Input + at);
        return InputBias == null ? product : product + block.Load(InputBias + at);
    }

    /// <summary>h·U + c.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal readonly TVector OfState<TVector, TBlock>(TBlock block, nint at)
        where TVector : struct, IArithmetic<TVector>
        where TBlock : struct, IBlock<TVector>
    {
        TVector product = block.Load(State + at);
        return StateBias == null ? product : product + block.Load(StateBias + at);
    }
}

/// <summary>
/// Gates of one row by one function: those that lie side by side in one go. Each function has a loop of its own, and the
/// sum is written out: the JIT's readiness to inline grows with the method that it inlines into, and ends early in a small
/// one or in one that holds several functions.
/// </summary>
internal unsafe struct GateFormula<TFunction>(GateProducts products, float* gates) : IBlockFormula
    where TFunction : struct, IUnaryOperator
{
    [MethodImpl(MethodImplOptions.NoInlining)]
    public readonly void Apply<TVector, TBlock>(TBlock block, nint at)
        where TVector : struct, IArithmetic<TVector>
        where TBlock : struct, IBlock<TVector>
    {
        TVector sum = block.Load(products.Input + at) + block.Load(products.State + at);
        if (products.InputBias != null)
        {
            TVector bias = block.Load(products.InputBias + at);
            if (products.StateBias != null) bias += block.Load(products.StateBias + at);
            sum += bias;
        }
        else if (products.StateBias != null)
        {
            sum += block.Load(products.StateBias + at);
        }
        block.Store(gates + at, default(TFunction).Apply(sum));
    }
}
