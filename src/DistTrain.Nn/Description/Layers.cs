namespace DistTrain.Nn;

/// <summary>The layers, for descriptions in C#.</summary>
public static partial class Layers
{
    /// <summary>A fully connected layer: y = x·Wᵀ + b. See <see cref="DenseSpec"/>.</summary>
    public static LayerSpec Dense(int outputs, bool bias = true, Initialiser? init = null, Initialiser? biasInit = null) =>
        new DenseSpec(outputs, bias, init, biasInit);

    /// <summary>One row of values per example, whatever their shape was.</summary>
    public static LayerSpec Flatten() => new FlattenSpec();

    /// <summary>y = x.</summary>
    public static LayerSpec Identity() => new IdentitySpec();

    /// <summary>y = max(x, 0).</summary>
    public static LayerSpec Relu() => new ReluSpec();

    /// <summary>y = 1 / (1 + e^-x).</summary>
    public static LayerSpec Sigmoid() => new SigmoidSpec();

    /// <summary>y = tanh x.</summary>
    public static LayerSpec Tanh() => new TanhSpec();
}
