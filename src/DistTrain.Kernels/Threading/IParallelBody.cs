namespace DistTrain.Kernels;

/// <summary>
/// The work of a parallel region: a struct of pointers and sizes, so that running it allocates nothing. Parts write
/// disjoint outputs; no part reads what another writes.
/// </summary>
public interface IParallelBody
{
    /// <summary>Does one part. Called once for each part, from any thread of the pool, in any order.</summary>
    /// <param name="part">Which part, from 0.</param>
    void Run(int part);
}
