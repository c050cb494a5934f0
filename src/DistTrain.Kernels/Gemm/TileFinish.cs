using System.Runtime.CompilerServices;

namespace DistTrain.Kernels;

/// <summary>
/// What follows a finished sum s, in this order: s = alpha·s unless alpha is 1; s = fma(beta, c, s) unless beta is 0;
/// s = s + bias of the column; then s = activation(s), or, on the way back, s = s · activation' taken from the
/// activation's output. Runs over a tile while it is in the L1 cache.
/// </summary>
internal unsafe struct TileFinish
{
    public float Alpha;
    public float Beta;
    public float* Bias;
    public Activation Activation;

    /// <summary>Null forward; on the way back where the activation's outputs are, for this tile's part of C on.</summary>
    public float* Outputs;
    public nint StrideOutputs;

    /// <summary>Whether there is anything to do.</summary>
    public readonly bool Needed => Alpha != 1 || Beta != 0 || Bias != null || Activation != Activation.Identity;

    /// <summary>Whether the old C is needed, so that sums can't be kept there.</summary>
    public readonly bool ReadsC => Beta != 0;

    /// <summary>The same for a part of C that begins at a row and a column.</summary>
    public readonly TileFinish From(nint row, nint column)
    {
        TileFinish part = this;
        if (Bias != null) part.Bias += column;
        if (Outputs != null) part.Outputs += (row * StrideOutputs) + column;
        return part;
    }

    /// <summary>c = finish(s) for a tile that begins at <paramref name="row"/> and <paramref name="column"/> of C.</summary>
    public readonly void Run<T>(float* s, nint strideS, float* c, nint strideC, int rows, int columns, nint row, nint column)
        where T : struct, ILanes<T>
    {
        TileFinish part = From(row, column);
        if (Outputs == null)
        {
            switch (Activation)
            {
                case Activation.Relu: part.Rows<T, ReluOperator>(s, strideS, c, strideC, rows, columns); break;
                case Activation.Sigmoid: part.Rows<T, SigmoidOperator>(s, strideS, c, strideC, rows, columns); break;
                case Activation.Tanh: part.Rows<T, TanhOperator>(s, strideS, c, strideC, rows, columns); break;
                default: part.Rows<T, CopyOperator>(s, strideS, c, strideC, rows, columns); break;
            }
            return;
        }
        part.Rows<T, CopyOperator>(s, strideS, c, strideC, rows, columns);
        switch (Activation)
        {
            case Activation.Relu: part.Mask<T, ReluGradientOperator>(c, strideC, rows, columns); break;
            case Activation.Sigmoid: part.Mask<T, SigmoidGradientOperator>(c, strideC, rows, columns); break;
            case Activation.Tanh: part.Mask<T, TanhGradientOperator>(c, strideC, rows, columns); break;
        }
    }

    private readonly void Rows<T, TOperator>(float* s, nint strideS, float* c, nint strideC, int rows, int columns)
        where T : struct, ILanes<T>
        where TOperator : struct, IUnaryOperator
    {
        if (Alpha == 1 && Beta == 0 && Bias != null && columns % 16 == 0)
        {
            Biased<T, TOperator>(s, strideS, c, strideC, rows, columns);
            return;
        }
        for (int j = 0; j < columns; j += 16)
        {
            int rest = Math.Min(16, columns - j);
            T add = Bias == null ? T.Zero : T.LoadPartial(Bias + j, rest);
            for (int r = 0; r < rows; r++)
            {
                float* source = s + (r * strideS) + j;
                float* target = c + (r * strideC) + j;
                if (rest == 16)
                {
                    T.Store(target, One<T, TOperator>(T.Load(source), Beta == 0 ? T.Zero : T.Load(target), add));
                }
                else
                {
                    T old = Beta == 0 ? T.Zero : T.LoadPartial(target, rest);
                    T.StorePartial(target, One<T, TOperator>(T.LoadPartial(source, rest), old, add), rest);
                }
            }
        }
    }

    // What most products need.
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private readonly void Biased<T, TOperator>(float* s, nint strideS, float* c, nint strideC, int rows, int columns)
        where T : struct, ILanes<T>
        where TOperator : struct, IUnaryOperator
    {
        for (int j = 0; j < columns; j += 16)
        {
            T bias = T.Load(Bias + j);
            float* source = s + j;
            float* target = c + j;
            for (int r = rows; r > 0; r--, source += strideS, target += strideC) T.Store(target, default(TOperator).Apply(T.Load(source) + bias));
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private readonly T One<T, TOperator>(T s, T old, T add)
        where T : struct, ILanes<T>
        where TOperator : struct, IUnaryOperator
    {
        if (Alpha != 1) s *= T.Broadcast(Alpha);
        if (Beta != 0) s = T.Fma(T.Broadcast(Beta), old, s);
        if (Bias != null) s += add;
        return default(TOperator).Apply(s);
    }

    private readonly void Mask<T, TOperator>(float* c, nint strideC, int rows, int columns)
        where T : struct, ILanes<T>
        where TOperator : struct, IBinaryOperator
    {
        for (int r = 0; r < rows; r++)
        {
            float* target = c + (r * strideC);
            float* output = Outputs + (r * StrideOutputs);
            int j = 0;
            for (; j <= columns - 16; j += 16) T.Store(target + j, default(TOperator).Apply(T.Load(target + j), T.Load(output + j)));
            int rest = columns - j;
            if (rest == 0) continue;
            T masked = default(TOperator).Apply(T.LoadPartial(target + j, rest), T.LoadPartial(output + j, rest));
            T.StorePartial(target + j, masked, rest);
        }
    }
}
