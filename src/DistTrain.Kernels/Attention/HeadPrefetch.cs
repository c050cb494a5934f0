using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics.X86;

namespace DistTrain.Kernels;

/// <summary>
/// Brings the next head's rows towards the processor while this one is computed: a few cache lines with each register
/// tile. A head's rows lie scattered over a packed projection, where the hardware foresees nothing.
/// </summary>
internal unsafe struct HeadPrefetch
{
    // More than this would push out what is being worked on.
    private const nint MostFloats = 64 * 1024;

    private const int MaxStreams = 8;
    private const int LineFloats = 16;

    private fixed long _pointers[MaxStreams];
    private fixed long _strides[MaxStreams];
    private nint _rows;
    private nint _width;
    private nint _row;
    private nint _steps;
    private int _streams;
    private int _stream;

    /// <summary>Begins anew, with nothing to fetch. All streams have as many rows.</summary>
    public void Clear(nint rows, nint width)
    {
        _rows = rows;
        _width = width;
        _row = 0;
        _stream = 0;
        _streams = 0;
    }

    /// <summary>Adds rows to fetch.</summary>
    public void Add(float* pointer, nint stride)
    {
        _pointers[_streams] = (long)pointer;
        _strides[_streams] = stride * sizeof(float);
        _streams++;
    }

    /// <summary>Spreads what there is over <paramref name="calls"/> calls of <see cref="Step"/>.</summary>
    public void Spread(nint calls)
    {
        nint rows = _rows * _streams;
        if (!Sse.IsSupported || rows * _width > MostFloats) rows = 0;
        _steps = (rows + calls - 1) / Math.Max(calls, 1);
    }

    /// <summary>Asks for the next few rows.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public void Step()
    {
        if (_row < _rows) Fetch();
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    private void Fetch()
    {
        for (nint step = _steps; step > 0 && _row < _rows; step--)
        {
            float* row = (float*)(_pointers[_stream] + (_row * _strides[_stream]));
            for (nint i = 0; i < _width; i += LineFloats)
                if (Sse.IsSupported) Sse.Prefetch1(row + i);
            if (++_stream < _streams) continue;
            _stream = 0;
            _row++;
        }
    }
}
