namespace DistTrain.Kernels;

/// <summary>What tells the norms over rows apart.</summary>
internal interface IRowNormStyle
{
    /// <summary>Whether the mean is taken off and a shift is added: layer norm; otherwise RMS norm.</summary>
    static abstract bool Centred { get; }
}

internal readonly struct LayerStyle : IRowNormStyle
{
    public static bool Centred => true;
}

internal readonly struct RmsStyle : IRowNormStyle
{
    public static bool Centred => false;
}

/// <summary>A yes or no that the JIT knows.</summary>
internal interface IChoice
{
    static abstract bool Taken { get; }
}

internal readonly struct Yes : IChoice
{
    public static bool Taken => true;
}

internal readonly struct No : IChoice
{
    public static bool Taken => false;
}
