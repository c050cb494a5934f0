using System.Runtime.InteropServices;
using System.Security.Cryptography;
using DistTrain.Core.Layout;
using DistTrain.Kernels;

namespace DistTrain.Training.Checkpoints;

/// <summary>
/// A whole model at one version: the weights and the optimizer's vectors, each as long as the flat parameter vector.
/// </summary>
public sealed unsafe class ModelSnapshot : IDisposable
{
    /// <summary>The name of the weights among the vectors.</summary>
    public const string Weights = "weights";

    /// <summary>
    /// Where weights are averaged, the name of the vector that training goes on with: <see cref="Weights"/> are the averages
    /// then, because they are what a model is used with.
    /// </summary>
    public const string Unaveraged = "unaveraged";

    private readonly NativeBuffer[] _vectors;

    /// <summary>Allocates the weights and <paramref name="stateVectors"/>, all zero.</summary>
    public ModelSnapshot(ParameterLayout layout, IEnumerable<string> stateVectors, long version)
    {
        (Layout, Version) = (layout, version);
        VectorNames = [Weights, .. stateVectors];
        _vectors = [.. VectorNames.Select(_ => new NativeBuffer(layout.Length))];
    }

    /// <summary>The model's tensors.</summary>
    public ParameterLayout Layout { get; }

    /// <summary>The model version.</summary>
    public long Version { get; }

    /// <summary>The vectors: <see cref="Weights"/>, then the optimizer's.</summary>
    public IReadOnlyList<string> VectorNames { get; }

    /// <summary>The coordinator's own state as of that version, as its manifest holds it.</summary>
    public ReadOnlyMemory<byte> Record { get; init; }

    /// <summary>A whole vector, padding included; null for an unknown name.</summary>
    public NativeBuffer? Find(string vector)
    {
        for (int i = 0; i < _vectors.Length; i++)
        {
            if (VectorNames[i] == vector) return _vectors[i];
        }

        return null;
    }

    /// <summary>The elements of one tensor in a vector.</summary>
    public ReadOnlySpan<float> Tensor(string vector, TensorEntry tensor) =>
        new(Find(vector)!.Pointer + tensor.Offset, checked((int)tensor.Length));

    /// <summary>The first tensor of the weights with a NaN or an infinity; null when all are finite.</summary>
    public string? FirstNotFinite()
    {
        foreach (TensorEntry tensor in Layout.Tensors)
        {
            foreach (float value in Tensor(Weights, tensor))
            {
                if (!float.IsFinite(value)) return tensor.Name;
            }
        }

        return null;
    }

    /// <summary>SHA-256 over the little-endian fp32 parameters in layout order, without padding; lower-case hexadecimal.</summary>
    public string WeightsSha256()
    {
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        foreach (TensorEntry tensor in Layout.Tensors) hash.AppendData(MemoryMarshal.AsBytes(Tensor(Weights, tensor)));
        return Convert.ToHexStringLower(hash.GetHashAndReset());
    }

    /// <summary>Frees all vectors.</summary>
    public void Dispose()
    {
        foreach (NativeBuffer vector in _vectors) vector.Dispose();
    }
}
