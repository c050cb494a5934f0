namespace DistTrain.Nn;

/// <summary>How many floats a layer needs beside its values and gradients.</summary>
/// <param name="PerRow">For each row.</param>
/// <param name="PerLeaf">For each shard.</param>
/// <param name="Once">However many there are.</param>
internal readonly record struct Room(long PerRow, long PerLeaf = 0, long Once = 0)
{
    public long Length(int rows, int leaves) => (PerRow * rows) + (PerLeaf * leaves) + Once;
}
