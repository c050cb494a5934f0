using System.Collections.Immutable;
using DistTrain.Core.Layout;

namespace DistTrain.Training.Checkpoints;

/// <summary>The part of a range of the flat parameter vector that lies within one tensor.</summary>
/// <param name="Tensor">The tensor's number in the layout.</param>
/// <param name="First">First element within the tensor.</param>
/// <param name="At">Where it stands within the range.</param>
/// <param name="Length">Elements.</param>
internal readonly record struct FlatPart(int Tensor, long First, int At, int Length);

/// <summary>Cuts ranges of the flat parameter vector at tensors; the padding between them belongs to none.</summary>
internal static class FlatRange
{
    public static IEnumerable<FlatPart> Parts(ParameterLayout layout, long offset, int length)
    {
        if (offset < 0 || length < 0 || length > layout.Length - offset) throw new ArgumentOutOfRangeException(nameof(offset), offset, $"[{offset}, {offset + length}) is not within the {layout.Length} elements of the flat vector");
        ImmutableArray<TensorEntry> tensors = layout.Tensors;
        int low = 0;
        int high = tensors.Length;
        while (low < high)
        {
            int middle = (low + high) / 2;
            if (tensors[middle].End <= offset) low = middle + 1;
            else high = middle;
        }

        for (int i = low; i < tensors.Length && tensors[i].Offset < offset + length; i++)
        {
            long start = Math.Max(offset, tensors[i].Offset);
            long end = Math.Min(offset + length, tensors[i].End);
            if (start < end) yield return new FlatPart(i, start - tensors[i].Offset, (int)(start - offset), (int)(end - start));
        }
    }
}
