namespace DistTrain.Kernels;

/// <summary>
/// What a forward pass and a data gradient have in common: every target pixel is one chain over the taps of its phase
/// (in the axes' order, vertical outside) and the source channels of its group. Source positions outside the image
/// count as +0.
/// </summary>
internal unsafe struct CorrelationProblem
{
    public float* Source;

    /// <summary>Where the source is a gradient behind a pooling: see <see cref="ConvSource"/>.</summary>
    public float* SourceTaps;

    public int SourceHeight;
    public int SourceWidth;

    /// <summary>Of all groups.</summary>
    public int SourceChannels;

    public int Examples;
    public float* Target;

    /// <summary>Where units' targets are pooled as they end, <see cref="Target"/> then being null: (examples, height / 2, width / 2, channels).</summary>
    public float* Pooled;

    /// <summary>Like it; null for none.</summary>
    public float* PooledTaps;

    public int TargetHeight;
    public int TargetWidth;

    /// <summary>Of all groups.</summary>
    public int TargetChannels;

    public int Groups;
    public ConvAxis Y;
    public ConvAxis X;
    public int TapsY;
    public int TapsX;

    /// <summary>Whether the horizontal taps of one vertical tap are neighbours in memory, channels included: one run of k.</summary>
    public bool JoinsTaps;

    /// <summary>The weights, as <see cref="ConvPacking"/> lays them out for this pass.</summary>
    public float* Packed;

    public GemmEpilogue Epilogue;

    /// <summary>Images of a unit of work, and target rows (of each phase) of one; several images only with all rows.</summary>
    public int UnitImages;

    /// <inheritdoc cref="UnitImages"/>
    public int UnitRows;

    /// <summary>Whether what follows a sum is done in the tile's registers.</summary>
    public readonly bool FusesEpilogue =>
        Epilogue.Activation == Activation.Identity || (Epilogue.Activation == Activation.Relu && Epilogue.Outputs == null);

    /// <summary>What follows a sum where it isn't, for pixels from <paramref name="first"/> on.</summary>
    public readonly TileFinish Finish(nint first) => new TileFinish
    {
        Alpha = 1,
        Bias = Epilogue.Bias,
        Activation = Epilogue.Activation,
        Outputs = Epilogue.Outputs,
        StrideOutputs = Epilogue.StrideOutputs,
    }.From(first, 0);

    /// <summary>The source as images.</summary>
    public readonly ConvSource Images => new() { Values = Source, Taps = SourceTaps, Height = SourceHeight, Width = SourceWidth, Channels = SourceChannels };

    public readonly int GroupSource => SourceChannels / Groups;

    public readonly int GroupTarget => TargetChannels / Groups;

    public readonly int Bands => (Y.Targets + UnitRows - 1) / UnitRows;

    public readonly int Units => (Examples + UnitImages - 1) / UnitImages * Bands;

    /// <summary>Whether the source is read where it lies: nothing is taken from outside the image.</summary>
    public readonly bool InPlace =>
        SourceTaps == null && Y.Low >= 0 && X.Low >= 0 && Y.Low + Y.Reach(Y.Targets) <= SourceHeight && X.Low + X.Reach(X.Targets) <= SourceWidth;

    /// <summary>The forward pass.</summary>
    public static CorrelationProblem Forward(in ConvolutionShape shape, int examples, float* x, float* packed, GemmEpilogue epilogue, float* y) => new()
    {
        Source = x,
        SourceHeight = shape.Height,
        SourceWidth = shape.Width,
        SourceChannels = shape.Channels,
        Examples = examples,
        Target = y,
        TargetHeight = shape.OutputHeight,
        TargetWidth = shape.OutputWidth,
        TargetChannels = shape.Outputs,
        Groups = shape.Groups,
        Y = new ConvAxis(shape.OutputHeight, shape.KernelHeight, shape.StrideY, shape.DilationY, shape.PadTop, backward: false),
        X = new ConvAxis(shape.OutputWidth, shape.KernelWidth, shape.StrideX, shape.DilationX, shape.PadLeft, backward: false),
        TapsY = shape.KernelHeight,
        TapsX = shape.KernelWidth,
        JoinsTaps = shape.Groups == 1 && shape.DilationX == 1,
        Packed = packed,
        Epilogue = epilogue,
    };

    /// <summary>The data gradient.</summary>
    public static CorrelationProblem Data(in ConvolutionShape shape, int examples, float* dY, float* packed, GemmEpilogue epilogue, float* dX) => new()
    {
        Source = dY,
        SourceHeight = shape.OutputHeight,
        SourceWidth = shape.OutputWidth,
        SourceChannels = shape.Outputs,
        Examples = examples,
        Target = dX,
        TargetHeight = shape.Height,
        TargetWidth = shape.Width,
        TargetChannels = shape.Channels,
        Groups = shape.Groups,
        Y = new ConvAxis(shape.Height, shape.KernelHeight, shape.StrideY, shape.DilationY, shape.PadTop, backward: true),
        X = new ConvAxis(shape.Width, shape.KernelWidth, shape.StrideX, shape.DilationX, shape.PadLeft, backward: true),
        TapsY = shape.KernelHeight,
        TapsX = shape.KernelWidth,
        JoinsTaps = shape.Groups == 1 && shape.DilationX == 1 && shape.StrideX == 1,
        Packed = packed,
        Epilogue = epilogue,
    };
}
