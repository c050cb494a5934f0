using DistTrain.Core.Memory;
using DistTrain.Kernels;

namespace DistTrain.Training;

/// <summary>Native fp32 memory, all +0, that other processes of this host may read where that was asked for and can be had.</summary>
public sealed unsafe class TensorMemory : IDisposable
{
    private readonly NativeBuffer? _private;
    private readonly SharedRegion? _shared;

    /// <summary>Room for so many floats.</summary>
    public TensorMemory(long length, bool share)
    {
        _shared = share ? SharedRegion.Create(Math.Max(length, 1) * sizeof(float)) : null;
        if (_shared is null) _private = new NativeBuffer(length);
    }

    /// <summary>The first float, 64-byte aligned.</summary>
    public float* Pointer => _private is { } buffer ? buffer.Pointer : (float*)_shared!.Address;

    /// <summary>Gives the memory back.</summary>
    public void Dispose()
    {
        _private?.Dispose();
        _shared?.Dispose();
    }
}
