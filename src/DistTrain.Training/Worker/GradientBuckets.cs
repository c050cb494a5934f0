using DistTrain.Core.Channels;
using DistTrain.Core.Layout;
using DistTrain.Core.Tracing;
using DistTrain.Nn;

namespace DistTrain.Training.Worker;

/// <summary>
/// Gradient ready → bucket ready → pushed: counts what backward has finished of each bucket and pushes a bucket's
/// segments, one for each tree node, the moment it is whole, while backward goes on with the layers below. Without servers
/// nothing is pushed.
/// </summary>
internal sealed class GradientBuckets(BucketPlan plan, IServerConnection[] servers, long term, ulong incarnation, TraceRecorder? trace = null, Faults? faults = null) : IGradientListener
{
    private readonly long[] _missing = new long[plan.Buckets.Length];
    private GradientRound? _round;

    /// <summary>Begins a round: the gradients of one step for the shards that the round's plan names.</summary>
    public void Begin(GradientRound round)
    {
        _round = round;
        round.BeginSealing();
        for (int b = 0; b < _missing.Length; b++) _missing[b] = plan.Buckets[b].Length;
    }

    /// <inheritdoc/>
    public void Ready(long flatStart, long flatEnd) => Ready(flatStart, flatEnd, packed: false);

    /// <inheritdoc/>
    public void ReadyPacked(long flatStart, long flatEnd) => Ready(flatStart, flatEnd, packed: true);

    private void Ready(long flatStart, long flatEnd, bool packed)
    {
        int first = FirstBucketEndingAfter(flatStart);
        trace.Mark(TraceName.GradientReady, _round!.Step, first);
        for (int b = first; b < _missing.Length && plan.Buckets[b].Offset < flatEnd; b++)
        {
            Bucket bucket = plan.Buckets[b];
            long start = Math.Max(flatStart, bucket.Offset), end = Math.Min(flatEnd, bucket.End);
            if (!packed) _round.Pack(start, end);
            _missing[b] -= end - start;
            if (_missing[b] != 0) continue;
            long began = trace.Begin();
            _round.Seal(bucket);
            faults?.Flip(_round, bucket);
            trace.End(TraceName.BucketReady, began, _round.Step, b);
            if (servers.Length > 0) Push(_round, bucket);
        }
    }

    /// <summary>Pushes all buckets of a partition again, from a round whose backward is done.</summary>
    public void Resend(GradientRound round, int partition)
    {
        foreach (Bucket bucket in plan.Partitions[partition].Buckets) Push(round, bucket);
    }

    private void Push(GradientRound round, Bucket bucket)
    {
        for (int node = 0; node < round.Sent.Count; node++)
        {
            var header = new SegmentHeader(SegmentKind.Gradient, term, incarnation, round.Step, bucket.Index, round.Sent[node], round.SentStats[node])
            {
                Basis = round.Basis,
                Number = round.Number + node,
                Oldest = round.Oldest,
            };
            long began = trace.Begin();
            servers[bucket.Partition].Push(header, round.Payload(node, bucket));
            trace.End(TraceName.Pushed, began, round.Step, bucket.Index, header.Shards);
        }
    }

    private int FirstBucketEndingAfter(long offset)
    {
        int lo = 0, hi = plan.Buckets.Length;
        while (lo < hi)
        {
            int mid = (lo + hi) / 2;
            if (plan.Buckets[mid].End > offset) hi = mid;
            else lo = mid + 1;
        }

        return lo;
    }
}
