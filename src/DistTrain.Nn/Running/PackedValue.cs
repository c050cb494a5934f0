using DistTrain.Kernels;

namespace DistTrain.Nn;

/// <summary>
/// A value that backward reads: between the last time that forward does and the first time that backward does, it lies
/// in 16 bits, and its fp32 room serves others. Exact, because it was rounded when it was computed.
/// </summary>
/// <param name="Value">The value.</param>
/// <param name="After">The moment after which it is packed.</param>
/// <param name="Before">The moment before which it is unpacked.</param>
/// <param name="Request">Its room in 16 bits.</param>
internal readonly record struct PackedValue(int Value, int After, int Before, int Request);

/// <summary>Packs and unpacks the values of a run at their moments.</summary>
internal sealed unsafe class Packing
{
    private readonly FloatFormat _format;
    private readonly (nint Wide, nint Packed, int Width)[]?[] _after;
    private readonly (nint Wide, nint Packed, int Width)[]?[] _before;

    public Packing(RunLayout layout, float* arena)
    {
        LayerGraph graph = layout.Schedule.Graph;
        _format = graph.Precision;
        _after = new (nint, nint, int)[layout.Schedule.End][];
        _before = new (nint, nint, int)[layout.Schedule.End][];
        foreach (PackedValue packed in layout.Packed)
        {
            (nint, nint, int) place = ((nint)(arena + layout.Value(packed.Value)), (nint)(arena + layout.Room16(packed)), graph.Width(packed.Value));
            _after[packed.After] = [.. _after[packed.After] ?? [], place];
            _before[packed.Before] = [.. _before[packed.Before] ?? [], place];
        }
    }

    /// <summary>Packs what is not read again before backward.</summary>
    public void After(int moment, int rows, KernelPool pool)
    {
        if (_after[moment] is not { } places) return;
        foreach ((nint wide, nint packed, int width) in places) Precisions.FromFloat32((float*)wide, (void*)packed, _format, (nint)rows * width, pool);
    }

    /// <summary>Unpacks what this moment is the first to read.</summary>
    public void Before(int moment, int rows, KernelPool pool)
    {
        if (_before[moment] is not { } places) return;
        foreach ((nint wide, nint packed, int width) in places) Precisions.ToFloat32((void*)packed, _format, (float*)wide, (nint)rows * width, pool);
    }
}
