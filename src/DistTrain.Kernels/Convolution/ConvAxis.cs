namespace DistTrain.Kernels;

/// <summary>
/// One direction of a convolution or of its data gradient, as a correlation: target j of a phase takes source
/// positions Source(phase, tap) + j·Step. A convolution has one phase. In its data gradient the targets that lie the
/// stride apart see the same taps and form a phase; taps are walked from the last to the first, so that the source
/// is walked forwards.
/// </summary>
internal readonly struct ConvAxis
{
    private readonly int _size;
    private readonly int _taps;
    private readonly int _stride;
    private readonly int _dilation;
    private readonly int _pad;
    private readonly bool _backward;

    /// <summary>The axis of a pass.</summary>
    /// <param name="size">Positions of the target.</param>
    /// <param name="taps">Of the kernel.</param>
    /// <param name="stride">Of the convolution.</param>
    /// <param name="dilation">Of the convolution.</param>
    /// <param name="pad">Before the convolution's input.</param>
    /// <param name="backward">Whether this is the data gradient.</param>
    public ConvAxis(int size, int taps, int stride, int dilation, int pad, bool backward)
    {
        _size = size;
        _taps = taps;
        _stride = stride;
        _dilation = dilation;
        _pad = pad;
        _backward = backward;
        Low = int.MaxValue;
        High = int.MinValue;
        for (int phase = 0; phase < Phases; phase++)
        {
            for (int tap = 0; tap < taps; tap++)
            {
                if (!Source(phase, tap, out int position)) continue;
                Low = Math.Min(Low, position);
                High = Math.Max(High, position);
            }
        }
        // No tap reaches any target: there is nothing to read.
        if (Low > High) Low = High = 0;
    }

    public int Phases => _backward ? Math.Min(_stride, _size) : 1;

    /// <summary>Source positions between neighbouring targets of a phase.</summary>
    public int Step => _backward ? 1 : _stride;

    /// <summary>Target positions between neighbouring targets of a phase.</summary>
    public int Spread => _backward ? _stride : 1;

    /// <summary>The first and the last source position that target 0 of any phase takes.</summary>
    public int Low { get; }

    /// <inheritdoc cref="Low"/>
    public int High { get; }

    /// <summary>How many targets the longest phase has, which is the first.</summary>
    public int Targets => Count(0);

    /// <summary>Source positions from the first to the last that a run of <paramref name="targets"/> takes.</summary>
    public int Reach(int targets) => ((targets - 1) * Step) + High - Low + 1;

    /// <summary>How many targets a phase has: positions phase + j·Spread.</summary>
    public int Count(int phase) => _backward ? (_size - phase + _stride - 1) / _stride : _size;

    /// <summary>Where the tap that is <paramref name="tap"/>-th in the walk takes target 0 of a phase from; false when it takes no part.</summary>
    public bool Source(int phase, int tap, out int position)
    {
        if (!_backward)
        {
            position = (tap * _dilation) - _pad;
            return true;
        }
        int from = phase + _pad - ((_taps - 1 - tap) * _dilation);
        position = from / _stride;
        return position * _stride == from;
    }
}
