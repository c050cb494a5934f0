using System.Collections.Immutable;
using System.Diagnostics.CodeAnalysis;
using DistTrain.Core;

namespace DistTrain.Data;

/// <summary>The checks at the door of every dataset, once a call; the throws are out of line.</summary>
internal static class GatherChecks
{
    public static void Destination(int examples, int width, int length)
    {
        if ((long)examples * width != length) ThrowLength(examples, width, length);
    }

    /// <summary>The index as an array index, checked against the number of examples.</summary>
    public static int Index(long example, int count)
    {
        if ((ulong)example >= (ulong)count) ThrowIndex(example, count);
        return (int)example;
    }

    /// <summary>The index, checked against a number of examples that no array need hold.</summary>
    public static long Index(long example, long count)
    {
        if ((ulong)example >= (ulong)count) ThrowIndex(example, count);
        return example;
    }

    public static void Kind(TargetSpec target, TargetKind wanted)
    {
        if (target.Kind != wanted) ThrowKind(target);
    }

    /// <summary>The features of an example of this shape; refuses empty or overflowing shapes.</summary>
    public static int FeatureCount(ImmutableArray<int> shape)
    {
        long n = 1;
        foreach (int d in shape)
        {
            if (d < 1) throw new DistTrainException(ExitCode.BadData, $"input shape [{string.Join(", ", shape)}]: every dimension must be at least 1");
            n *= d;
            if (n > int.MaxValue) throw new DistTrainException(ExitCode.BadData, $"input shape [{string.Join(", ", shape)}] is too large for one example");
        }

        return (int)n;
    }

    [DoesNotReturn]
    private static void ThrowLength(int examples, int width, int length) =>
        throw new ArgumentException($"the destination holds {length} elements; {examples} examples of {width} need {(long)examples * width}", nameof(length));

    [DoesNotReturn]
    private static void ThrowIndex(long example, long count) =>
        throw new ArgumentOutOfRangeException(nameof(example), example, $"example index outside [0, {count})");

    [DoesNotReturn]
    private static void ThrowKind(TargetSpec target) =>
        throw new InvalidOperationException($"the dataset has {target}, not {(target.Kind == TargetKind.ClassLabel ? "real targets" : "class labels")}");
}
