namespace DistTrain.Kernels;

/// <summary>
/// Names the bits that this build's kernels produce. A member joins a cluster, and a checkpoint is resumed, only
/// under the same revision (invariant I1: the same job).
/// </summary>
public static class NumericsRevision
{
    /// <summary>The revision of this build. Raise it whenever any kernel's bits change, however slightly.</summary>
    public const int Current = 3;
}
