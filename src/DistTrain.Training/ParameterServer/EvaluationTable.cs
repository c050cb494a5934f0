using System.Collections.Immutable;
using DistTrain.Core.Channels;
using DistTrain.Core.Messages;
using DistTrain.Core.Sharding;

namespace DistTrain.Training.ParameterServer;

/// <summary>Joins the sums of the newest evaluation along the shard tree.</summary>
internal sealed class EvaluationTable(ShardTree tree, SegmentPool pool, Action<MemberMessage> report)
{
    private SegmentTable? _table;

    /// <summary>The version that is evaluated; -1 before the first.</summary>
    public long Version { get; private set; } = -1;

    /// <summary>The shards that the evaluation of a version lacks.</summary>
    public ImmutableArray<int> Missing(long version) =>
        version == Version ? [.. _table!.Missing] : version > Version ? [.. Enumerable.Range(0, tree.Shards)] : [];

    /// <summary>A segment of this evaluation or a later one; reports the root when it is full.</summary>
    public void Place(in SegmentHeader header)
    {
        if (header.Step > Version)
        {
            Version = header.Step;
            _table = new SegmentTable(tree, pool);
        }

        if (_table!.Place(tree.Find(header.Shards), header.Stats, null) == Placement.Complete)
        {
            report(new EvaluationReduced(header.Term, header.Step, _table.Stats));
        }
    }
}
