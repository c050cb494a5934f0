namespace DistTrain.Kernels.Reference;

/// <summary>The recurrent cells for one element of one step, in plain C#.</summary>
internal static class ReferenceCells
{
    /// <summary>See <see cref="LstmCell"/>; the gates are i, f, g, o.</summary>
    public static void LstmForward(Span<float> gates, float previousCell, out float cell, out float cellTanh, out float state)
    {
        gates[0] = ReferenceFunctions.Sigmoid(gates[0]);
        gates[1] = ReferenceFunctions.Sigmoid(gates[1]);
        gates[2] = ReferenceFunctions.Tanh(gates[2]);
        gates[3] = ReferenceFunctions.Sigmoid(gates[3]);
        cell = MathF.FusedMultiplyAdd(gates[1], previousCell, gates[0] * gates[2]);
        cellTanh = ReferenceFunctions.Tanh(cell);
        state = gates[3] * cellTanh;
    }

    /// <summary>See <see cref="LstmCell"/>; <paramref name="d"/> is the state's whole gradient.</summary>
    public static void LstmBackward(Span<float> gates, float previousCell, float cellTanh, float d, ref float cellGradient)
    {
        float i = gates[0], f = gates[1], g = gates[2], o = gates[3];
        float e = MathF.FusedMultiplyAdd(d * o, MathF.FusedMultiplyAdd(-cellTanh, cellTanh, 1f), cellGradient);
        gates[0] = e * g * (i * (1f - i));
        gates[1] = e * previousCell * (f * (1f - f));
        gates[2] = e * i * MathF.FusedMultiplyAdd(-g, g, 1f);
        gates[3] = d * cellTanh * (o * (1f - o));
        cellGradient = e * f;
    }

    /// <summary>See <see cref="GruCell"/>; the gates are r, z, n's product with the input, and then n's with the state.</summary>
    public static float GruForward(Span<float> gates, float hidden, float previous)
    {
        gates[0] = ReferenceFunctions.Sigmoid(gates[0]);
        gates[1] = ReferenceFunctions.Sigmoid(gates[1]);
        gates[2] = ReferenceFunctions.Tanh(MathF.FusedMultiplyAdd(gates[0], hidden, gates[2]));
        gates[3] = hidden;
        return MathF.FusedMultiplyAdd(gates[1], previous - gates[2], gates[2]);
    }

    /// <summary>See <see cref="GruCell"/>; gives what the step before gets beside the products.</summary>
    public static float GruBackward(Span<float> gates, float previous, float d)
    {
        float r = gates[0], z = gates[1], n = gates[2], u = gates[3];
        float dn = d * (1f - z) * MathF.FusedMultiplyAdd(-n, n, 1f);
        gates[0] = dn * u * (r * (1f - r));
        gates[1] = d * (previous - n) * (z * (1f - z));
        gates[2] = dn;
        gates[3] = dn * r;
        return d * z;
    }
}
