using DistTrain.Core;
using DistTrain.Core.Tracing;

namespace DistTrain.Composition;

/// <summary>Reads from a trace where the time of a step goes.</summary>
internal sealed class SplitReader
{
    // Steps at the start that JIT and caches make slow, and how many have to be left.
    private const int WarmUp = 10;
    private const int Fewest = 5;

    private readonly IReadOnlyList<TraceTrack> _tracks;
    private readonly Spans _busy;
    private readonly Spans _evaluating;
    private readonly Dictionary<long, long> _pushed = [];
    private readonly bool _isLocal;

    public SplitReader(IReadOnlyList<TraceTrack> tracks)
    {
        _tracks = tracks;
        _isLocal = All.Any(e => e.Name == TraceName.LocalSteps);
        _busy = new Spans(All.Where(e => e.Name is TraceName.Reduced or TraceName.Applied));
        _evaluating = new Spans(All.Where(e => e.Name == TraceName.Evaluate));
        foreach (TraceEvent push in All.Where(e => e.Name == TraceName.Pushed)) _pushed[push.Value] = Math.Max(_pushed.GetValueOrDefault(push.Value), push.End);
    }

    private IEnumerable<TraceEvent> All => _tracks.SelectMany(t => t.Events);

    /// <summary>The split; null where the trace holds too few steps.</summary>
    public StepSplit? Read()
    {
        var sum = new Sums();
        foreach (TraceTrack track in _tracks.Where(t => t.Member is { Role: MemberRole.Worker })) Read(track, sum);
        if (sum.Steps < Fewest) return null;
        double parts = 1e6 * sum.Steps;
        double rest = sum.Whole - sum.Compute - sum.Communication - sum.Reduction - sum.Stall;
        return new StepSplit
        {
            Steps = sum.Steps,
            StepMs = sum.Whole / parts,
            ComputeMs = sum.Compute / parts,
            CommunicationMs = sum.Communication / parts,
            ReductionMs = sum.Reduction / parts,
            StallMs = sum.Stall / parts,
            OtherMs = rest / parts,
            ManagedBytesPerStep = ManagedBytes(),
        };
    }

    private void Read(TraceTrack track, Sums sum)
    {
        List<TraceEvent> events = [.. track.Events.Where(e => !e.OnChannel && !e.IsCount).OrderBy(e => e.Start)];
        List<(int At, long Start)> begins = [];
        long step = -1;
        for (int i = 0; i < events.Count; i++)
        {
            if (events[i].Name != TraceName.Gather || events[i].Value == step) continue;
            step = events[i].Value;
            begins.Add((i, events[i].Start));
        }

        for (int s = WarmUp; s + 1 < begins.Count; s++)
        {
            (long start, long end) = (begins[s].Start, begins[s + 1].Start);
            if (_evaluating.Within(start, end) > 0) continue;
            sum.Steps++;
            sum.Whole += end - start;
            for (int i = begins[s].At; i < begins[s + 1].At; i++) Add(events[i], sum);
        }
    }

    private void Add(in TraceEvent what, Sums sum)
    {
        switch (what.Name)
        {
            case TraceName.Gather or TraceName.Forward or TraceName.Loss or TraceName.Backward or TraceName.LocalSteps:
                sum.Compute += what.Duration;
                break;
            case TraceName.BucketReady or TraceName.Pushed:
                // Within backward, but for local SGD, whose pushes follow its steps.
                sum.Communication += what.Duration;
                if (!_isLocal) sum.Compute -= what.Duration;
                break;
            case TraceName.WaitForGrant:
                sum.Stall += what.Duration;
                break;
            case TraceName.WaitForWeights:
                long complete = Math.Clamp(_pushed.GetValueOrDefault(what.Value - 1), what.Start, what.End);
                long reduced = _busy.Within(complete, what.End);
                sum.Stall += complete - what.Start;
                sum.Reduction += reduced;
                sum.Communication += what.End - complete - reduced;
                break;
        }
    }

    private Dictionary<string, double> ManagedBytes()
    {
        var bytes = new Dictionary<string, double>(StringComparer.Ordinal);
        foreach (TraceTrack track in _tracks.Where(t => t.Member is not null))
        {
            // One count for each step of a worker or server.
            List<TraceEvent> counts = [.. track.Events.Where(e => e.Name == TraceName.ManagedBytes).Skip(WarmUp)];
            if (counts.Count > Fewest) bytes[track.Member!.ToString()] = (double)(counts[^1].Value - counts[0].Value) / (counts.Count - 1);
        }

        return bytes;
    }

    private sealed class Sums
    {
        public int Steps { get; set; }

        public double Whole { get; set; }

        public double Compute { get; set; }

        public double Communication { get; set; }

        public double Reduction { get; set; }

        public double Stall { get; set; }
    }

    /// <summary>Spans joined where they overlap, with how much of them lies before each.</summary>
    private sealed class Spans
    {
        private readonly List<long> _starts = [];
        private readonly List<long> _ends = [];
        private readonly List<long> _before = [];

        public Spans(IEnumerable<TraceEvent> events)
        {
            foreach (TraceEvent span in events.OrderBy(e => e.Start))
            {
                if (_ends.Count > 0 && span.Start <= _ends[^1])
                {
                    _ends[^1] = Math.Max(_ends[^1], span.End);
                    continue;
                }

                _before.Add(_ends.Count == 0 ? 0 : _before[^1] + _ends[^1] - _starts[^1]);
                _starts.Add(span.Start);
                _ends.Add(span.End);
            }
        }

        public long Within(long start, long end) => Before(end) - Before(start);

        private long Before(long moment)
        {
            int at = _starts.BinarySearch(moment);
            if (at < 0) at = ~at - 1;
            return at < 0 ? 0 : _before[at] + Math.Min(moment, _ends[at]) - _starts[at];
        }
    }
}
