using System.Collections.Immutable;

namespace DistTrain.Core.Layout;

/// <summary>What a tensor of the layout is for.</summary>
public enum TensorRole
{
    /// <summary>Trained: its gradient is reduced and the optimizer updates it.</summary>
    Parameter,

    /// <summary>Trained, but weight decay may leave it alone: biases, and the scales and shifts of norms.</summary>
    Undecayed,

    /// <summary>State that travels and is saved with the model but has its own update rule (running statistics).</summary>
    Buffer,
}

/// <summary>One named tensor of the model, with its place in the flat parameter vector.</summary>
/// <param name="Name">Unique, such as <c>0.weight</c>: the layer's name, a dot, the tensor's own name.</param>
/// <param name="Shape">Row-major dimensions; dense weights are [out, in].</param>
/// <param name="Role">Parameter or buffer.</param>
/// <param name="Offset">Index of its first element in the flat vector; a multiple of <see cref="ParameterLayout.Alignment"/>.</param>
public sealed record TensorEntry(string Name, ImmutableArray<int> Shape, TensorRole Role, long Offset)
{
    /// <summary>Number of elements: the product of the shape.</summary>
    public long Length { get; } = Count(Shape);

    /// <summary>The index after its last element in the flat vector, without padding.</summary>
    public long End => Offset + Length;

    internal static long Count(ImmutableArray<int> shape)
    {
        long n = 1;
        foreach (int d in shape) n = checked(n * d);
        return n;
    }
}

/// <summary>
/// The flat parameter vector: all tensors in layer order, each starting at a multiple of 16 elements (64 bytes), with
/// zeros between. Everybody derives the same layout from the job, so it never travels.
/// </summary>
public sealed class ParameterLayout
{
    /// <summary>Tensors start at multiples of this many elements.</summary>
    public const int Alignment = 16;

    /// <summary>What spans elements is defined over blocks of this many, restarting at each tensor (DESIGN, I1).</summary>
    public const int BlockLength = 4096;

    /// <summary>Lays the tensors out in the order given.</summary>
    public ParameterLayout(IEnumerable<(string Name, ImmutableArray<int> Shape, TensorRole Role)> tensors)
    {
        var entries = ImmutableArray.CreateBuilder<TensorEntry>();
        var names = new HashSet<string>(StringComparer.Ordinal);
        long offset = 0;
        foreach ((string name, ImmutableArray<int> shape, TensorRole role) in tensors)
        {
            if (!names.Add(name)) throw new ArgumentException($"two tensors are called '{name}'", nameof(tensors));
            var entry = new TensorEntry(name, shape, role, offset);
            entries.Add(entry);
            offset = checked(entry.End + Alignment - 1) / Alignment * Alignment;
        }

        Tensors = entries.ToImmutable();
        Length = offset;
    }

    /// <summary>The tensors in layout order.</summary>
    public ImmutableArray<TensorEntry> Tensors { get; }

    /// <summary>Elements of the flat vector, padding included.</summary>
    public long Length { get; }

    /// <summary>Elements of all tensors, without padding.</summary>
    public long ElementCount => Tensors.Sum(t => t.Length);

    /// <summary>
    /// The ascending positions at which the flat vector may be cut: tensor starts, and every 4,096 elements after them.
    /// The first is 0 and the last is <see cref="Length"/>.
    /// </summary>
    public IEnumerable<long> BlockEdges()
    {
        foreach (TensorEntry tensor in Tensors)
        {
            for (long at = tensor.Offset; at == tensor.Offset || at < tensor.End; at += BlockLength) yield return at;
        }

        if (Length > 0 || Tensors.IsEmpty) yield return Length;
    }
}
