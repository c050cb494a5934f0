using System.Numerics;
using DistTrain.Kernels.Reference;

namespace DistTrain.Kernels.Tests;

/// <summary>Segments of some format, each at a page's end, with their rounded values beside them.</summary>
internal sealed unsafe class Segments : IDisposable
{
    private readonly BoundedMemory[] _memory;
    private readonly BoundedMemory _pointers;
    private readonly float[][] _values;

    public Segments(int count, int length, FloatFormat format)
    {
        _pointers = new BoundedMemory(2 * count);
        _memory = new BoundedMemory[count];
        _values = new float[count][];
        for (int i = 0; i < count; i++)
        {
            float[] values = TestData.Random(length, i + 1);
            int floats = ((length * format.Size()) + 3) / 4;
            _memory[i] = new BoundedMemory(floats);
            byte* start = (byte*)_memory[i].Pointer + (floats * 4) - (length * format.Size());
            fixed (float* v = values) Precisions.FromFloat32(v, start, format, length);
            _values[i] = [.. values.Select(v => ReferenceFormats.Round(v, format))];
            ((void**)_pointers.Pointer)[i] = start;
        }
    }

    public void** Pointers => (void**)_pointers.Pointer;

    public float[] Sum() => [.. Enumerable.Range(0, _values[0].Length).Select(i => ReferenceGemm.Tree(0, _values.Length, leaf => _values[leaf][i]))];

    public float[] RoundedSum(FloatFormat node) => [.. Enumerable.Range(0, _values[0].Length).Select(i => Rounded(0, _values.Length, node, i))];

    private float Rounded(int lo, int hi, FloatFormat node, int i)
    {
        if (hi - lo == 1) return ReferenceFormats.Round(_values[lo][i], node);
        int mid = lo + (1 << BitOperations.Log2((uint)(hi - lo - 1)));
        return ReferenceFormats.Round(Rounded(lo, mid, node, i) + Rounded(mid, hi, node, i), node);
    }

    public void Dispose()
    {
        foreach (BoundedMemory memory in _memory) memory.Dispose();
        _pointers.Dispose();
    }
}
