using System.Numerics;
using System.Runtime.CompilerServices;

namespace DistTrain.Kernels;

/// <summary>
/// The shard tree as a stack: leaves come in order, each joins the finished subtrees that end with it, and what is
/// pending are complete subtrees of falling size, one for each bit of the number of leaves so far.
/// </summary>
internal static class LeafTree
{
    /// <summary>The most subtrees that can be pending.</summary>
    public const int StackDepth = 32;

    /// <summary>How many pending subtrees leaf <paramref name="leaf"/> joins, the last of them first; the last leaf joins all.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static int Joins(int leaf, bool last, int pending) => last ? pending : BitOperations.TrailingZeroCount(leaf + 1);
}
