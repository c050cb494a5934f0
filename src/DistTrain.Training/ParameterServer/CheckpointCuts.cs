using DistTrain.Core.Layout;

namespace DistTrain.Training.ParameterServer;

/// <summary>The checkpoints that a partition is copied for at the moment.</summary>
internal sealed class CheckpointCuts(PartitionState state, long term, Action<CheckpointCut> upload)
{
    // The coordinator asks for two at a time, and for those of an end.
    private const int Most = 16;

    private readonly List<CheckpointCut> _cuts = [];
    private long _last = -1;

    /// <summary>Begins a copy at a version; false for one that was begun before.</summary>
    public bool Begin(long version)
    {
        if (version <= _last) return false;
        if (_cuts.Count == Most) throw Orders.Bad($"more than {Most} checkpoints at once");
        _last = version;
        _cuts.Add(new CheckpointCut(state, term, version));
        return true;
    }

    /// <summary>A bucket stands at a version: copies it where that is wanted, and uploads what is complete.</summary>
    public void Copy(Bucket bucket, long version)
    {
        for (int i = _cuts.Count - 1; i >= 0; i--)
        {
            CheckpointCut cut = _cuts[i];
            if (cut.Version != version) continue;
            cut.Copy(bucket);
            if (!cut.Complete) continue;
            _cuts.RemoveAt(i);
            upload(cut);
        }
    }
}
