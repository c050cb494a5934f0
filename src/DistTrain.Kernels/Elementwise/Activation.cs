namespace DistTrain.Kernels;

/// <summary>The functions that follow a layer's sum, alone or fused into the GEMM's end.</summary>
public enum Activation
{
    /// <summary>y = x.</summary>
    Identity,

    /// <summary>y = x where x is not below zero, else +0.</summary>
    Relu,

    /// <summary>y = 1 / (1 + e^-x).</summary>
    Sigmoid,

    /// <summary>y = tanh x.</summary>
    Tanh,
}
