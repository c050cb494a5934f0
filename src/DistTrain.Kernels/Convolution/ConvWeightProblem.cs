namespace DistTrain.Kernels;

/// <summary>A convolution's weight gradient over leaves, as <see cref="Convolution.WeightGradient"/> describes it.</summary>
internal unsafe struct ConvWeightProblem
{
    public ConvolutionShape Shape;
    public ConvSource DY;
    public float* X;
    public KRange* Ranges;
    public int* LeafStarts;
    public int Leaves;
    public float* DW;

    /// <summary>Rows of a band of an image that is visited at once, and how many bands an image has.</summary>
    public int BandRows;

    /// <inheritdoc cref="BandRows"/>
    public readonly int Bands => (Shape.OutputHeight + BandRows - 1) / BandRows;

    /// <summary>The most bands of one visit.</summary>
    public int VisitBands;

    /// <summary>Whether the taps of a kernel row are neighbours in memory, channels included: one run of rows.</summary>
    public readonly bool JoinsTaps => Shape.Groups == 1 && Shape.DilationX == 1;

    /// <summary>How many runs of neighbouring rows of dWᵀ there are, and how long they are.</summary>
    public readonly int Runs => JoinsTaps ? Shape.KernelHeight : Shape.Taps;

    /// <inheritdoc cref="Runs"/>
    public readonly int RunLength => JoinsTaps ? Shape.KernelWidth * Shape.Channels : Shape.GroupChannels;

    /// <summary>Whether the input is copied into blocks of channels.</summary>
    public bool Blocked;

    /// <summary>Whether x is read where it lies: no tap leaves the image.</summary>
    public readonly bool InPlace =>
        !Blocked &&
        Shape.PadTop == 0 && Shape.PadLeft == 0 &&
        ((Shape.OutputHeight - 1) * Shape.StrideY) + ReachY <= Shape.Height &&
        ((Shape.OutputWidth - 1) * Shape.StrideX) + ReachX <= Shape.Width;

    /// <summary>Input rows and columns that an output pixel sees.</summary>
    public readonly int ReachY => (Shape.DilationY * (Shape.KernelHeight - 1)) + 1;

    /// <inheritdoc cref="ReachY"/>
    public readonly int ReachX => (Shape.DilationX * (Shape.KernelWidth - 1)) + 1;

    /// <summary>Pixels of a row of the source that tiles read.</summary>
    public readonly int PaddedWidth => InPlace ? Shape.Width : ((Shape.OutputWidth - 1) * Shape.StrideX) + ReachX;

    /// <summary>Rows that a band of the source has.</summary>
    public readonly int PaddedRows(int rows) => ((rows - 1) * Shape.StrideY) + ReachY;
}
