namespace DistTrain.Core.Sharding;

/// <summary>Cuts a mini-batch, or any list of examples, into shards by index.</summary>
public static class ShardSlice
{
    /// <summary>Shard s of S over n examples holds the positions [s·n/S, (s+1)·n/S); it may be empty.</summary>
    public static (long Start, long End) Of(long n, int shards, int shard) =>
        (checked(shard * n) / shards, checked((shard + 1) * n) / shards);

    /// <summary>The contiguous shards that the worker at <paramref name="position"/> of <paramref name="workers"/> gets.</summary>
    public static ShardRange ForWorker(int shards, int workers, int position) =>
        new((int)((long)position * shards / workers), (int)((long)(position + 1) * shards / workers));
}
