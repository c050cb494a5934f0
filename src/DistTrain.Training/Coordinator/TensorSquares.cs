using System.Collections.Immutable;
using DistTrain.Core.Layout;
using DistTrain.Kernels;

namespace DistTrain.Training.Coordinator;

/// <summary>Sums of squares of tensors from those of their blocks.</summary>
internal static class TensorSquares
{
    /// <summary>Each tensor's sum, along a fixed tree within it (DESIGN, I1); null when the blocks are not the layout's.</summary>
    /// <param name="layout">The tensors.</param>
    /// <param name="blocks">The blocks of all of them, in the order of the flat vector.</param>
    public static ImmutableArray<double>? Of(ParameterLayout layout, ReadOnlySpan<float> blocks)
    {
        var tensors = ImmutableArray.CreateBuilder<double>(layout.Tensors.Length);
        int at = 0;
        foreach (TensorEntry tensor in layout.Tensors)
        {
            int count = (int)BlockNorms.Blocks((nint)tensor.Length);
            if (at + count > blocks.Length) return null;
            tensors.Add(BlockNorms.Tensor(blocks.Slice(at, count)));
            at += count;
        }

        return at == blocks.Length ? tensors.MoveToImmutable() : null;
    }
}
