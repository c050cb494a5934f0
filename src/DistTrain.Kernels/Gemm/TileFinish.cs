namespace DistTrain.Kernels;

/// <summary>
/// What follows a finished sum s, in this order: s = alpha·s unless alpha is 1; s = fma(beta, c, s) unless beta is 0;
/// s = s + bias of the column; s = activation(s). Runs over a tile while it is in the L1 cache.
/// </summary>
internal readonly unsafe struct TileFinish(float alpha, float beta, float* bias, Activation activation)
{
    /// <summary>Whether there is anything to do.</summary>
    public bool Needed => alpha != 1 || beta != 0 || bias != null || activation != Activation.Identity;

    /// <summary>Whether the old C is needed, so that sums can't be kept there.</summary>
    public bool ReadsC => beta != 0;

    /// <summary>The same for a part of C that begins at a column.</summary>
    public TileFinish From(nint column) => new(alpha, beta, bias == null ? null : bias + column, activation);

    /// <summary>c = finish(s) for a tile whose first column is <paramref name="column"/> of C.</summary>
    public void Run<T>(float* s, nint strideS, float* c, nint strideC, int rows, int columns, nint column)
        where T : struct, ILanes<T>
    {
        switch (activation)
        {
            case Activation.Relu: Rows<T, ReluOperator>(s, strideS, c, strideC, rows, columns, column); break;
            case Activation.Sigmoid: Rows<T, SigmoidOperator>(s, strideS, c, strideC, rows, columns, column); break;
            case Activation.Tanh: Rows<T, TanhOperator>(s, strideS, c, strideC, rows, columns, column); break;
            default: Rows<T, CopyOperator>(s, strideS, c, strideC, rows, columns, column); break;
        }
    }

    private void Rows<T, TOperator>(float* s, nint strideS, float* c, nint strideC, int rows, int columns, nint column)
        where T : struct, ILanes<T>
        where TOperator : struct, IUnaryOperator
    {
        for (int j = 0; j < columns; j += 16)
        {
            int rest = Math.Min(16, columns - j);
            T add = bias == null ? T.Zero : T.LoadPartial(bias + column + j, rest);
            for (int r = 0; r < rows; r++)
            {
                float* source = s + (r * strideS) + j;
                float* target = c + (r * strideC) + j;
                if (rest == 16)
                {
                    T.Store(target, One<T, TOperator>(T.Load(source), beta == 0 ? T.Zero : T.Load(target), add));
                }
                else
                {
                    T old = beta == 0 ? T.Zero : T.LoadPartial(target, rest);
                    T.StorePartial(target, One<T, TOperator>(T.LoadPartial(source, rest), old, add), rest);
                }
            }
        }
    }

    private T One<T, TOperator>(T s, T old, T add)
        where T : struct, ILanes<T>
        where TOperator : struct, IUnaryOperator
    {
        if (alpha != 1) s *= T.Broadcast(alpha);
        if (beta != 0) s = T.Fma(T.Broadcast(beta), old, s);
        if (bias != null) s += add;
        return default(TOperator).Apply(s);
    }
}
