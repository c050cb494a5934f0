using System.Collections.Immutable;

namespace DistTrain.Nn;

/// <summary>
/// Chooses which segments of a network run forward again on the way back, so that a step's buffers fit a budget with the
/// least work done twice. Dynamic programming over the nodes gives, for a bound on what one segment holds at once, the
/// cheapest cut for every sum of kept floats; the cuts that it proposes are then planned exactly, and the cheapest that
/// fits is taken.
/// </summary>
internal sealed class MemoryPlanner
{
    // Steps that kept memory is counted in, and bounds on a segment that are tried.
    private const int Levels = 128;
    private const int Bounds = 12;

    // A value costs what it takes to write it and read it, beside its operations.
    private const long CostPerValue = 16;

    private readonly LayerGraph _graph;
    private readonly int _rows;
    private readonly int _leaves;
    private readonly StepSchedule _all;
    private readonly bool[] _fixed;
    private readonly double[] _own;
    private readonly double[] _cost;

    private MemoryPlanner(LayerGraph graph, int rows, int leaves)
    {
        (_graph, _rows, _leaves) = (graph, rows, leaves);
        _all = new StepSchedule(graph, []);
        HashSet<Layer> partners = [.. graph.Nodes.Select(node => node.Layer.Partner).OfType<Layer>()];
        _fixed = [.. graph.Nodes.Select(node => partners.Contains(node.Layer))];
        _own = [.. Enumerable.Range(0, graph.Nodes.Count).Select(OwnFloats)];
        _cost = [.. graph.Nodes.Select(node => node.Layer.IsView ? 0.0 : node.Layer.Flops + (CostPerValue * node.Layer.OutputWidth))];
    }

    /// <summary>The layout with the least work done twice whose arena has at most <paramref name="most"/> floats; null when none has.</summary>
    public static RunLayout? Choose(LayerGraph graph, int rows, int leaves, long most)
    {
        var whole = new RunLayout(new StepSchedule(graph, []), rows, leaves);
        if (whole.Length <= most) return whole;
        return new MemoryPlanner(graph, rows, leaves).Candidates()
            .Where(layout => layout.Length <= most)
            .MinBy(layout => (layout.Schedule.RepeatedFlops(), layout.Length));
    }

    /// <summary>The layout of the smallest arena that was found.</summary>
    public static RunLayout Smallest(LayerGraph graph, int rows, int leaves) =>
        new MemoryPlanner(graph, rows, leaves).Candidates().Append(new RunLayout(new StepSchedule(graph, []), rows, leaves)).MinBy(layout => layout.Length)!;

    private List<RunLayout> Candidates()
    {
        int n = _own.Length;
        var seen = new HashSet<string>();
        var layouts = new List<RunLayout>();
        double bound = _own.Sum();
        for (int b = 0; b < Bounds; b++)
        {
            bound *= 0.6;
            foreach (ImmutableArray<Segment> cut in Cuts(bound, n))
            {
                if (seen.Add(string.Join(' ', cut))) layouts.Add(new RunLayout(new StepSchedule(_graph, cut), _rows, _leaves));
            }
        }

        return layouts;
    }

    // best[i][m]: the least cost of cutting nodes [0, i) with at most m levels kept; the step that led there.
    private IEnumerable<ImmutableArray<Segment>> Cuts(double bound, int n)
    {
        double level = Math.Max(_own.Sum() / Levels, 1);
        var best = new double[n + 1, Levels + 1];
        var from = new (int Node, int Level)[n + 1, Levels + 1];
        for (int i = 1; i <= n; i++)
        {
            for (int m = 0; m <= Levels; m++) best[i, m] = double.PositiveInfinity;
        }

        for (int i = 0; i < n; i++)
        {
            Extend(i, i + 1, _own[i], 0);
            double held = 0, cost = 0;
            for (int end = i + 1; end <= n && !_fixed[end - 1]; end++)
            {
                held += _own[end - 1];
                cost += _cost[end - 1];
                if (held > bound) break;
                if (end > i + 1) Extend(i, end, Crossing(i, end), cost);
            }
        }

        var cuts = new List<ImmutableArray<Segment>>();
        for (int m = 0; m <= Levels; m++)
        {
            if (double.IsFinite(best[n, m]) && (m == 0 || best[n, m] < best[n, m - 1])) cuts.Add(Read(m));
        }

        return cuts;

        void Extend(int begin, int end, double kept, double cost)
        {
            int more = (int)Math.Round(kept / level);
            for (int m = 0; m + more <= Levels; m++)
            {
                if (best[begin, m] + cost >= best[end, m + more]) continue;
                best[end, m + more] = best[begin, m] + cost;
                from[end, m + more] = (begin, m);
            }
        }

        ImmutableArray<Segment> Read(int m)
        {
            var segments = new List<Segment>();
            for (int end = n; end > 0;)
            {
                (int begin, int before) = from[end, m];
                if (end - begin > 1) segments.Add(new(begin, end));
                (end, m) = (begin, before);
            }

            segments.Reverse();
            return [.. segments];
        }
    }

    // What a node adds to memory until its backward when nothing is computed again.
    private double OwnFloats(int node)
    {
        Layer layer = _graph.Nodes[node].Layer;
        double kept = layer.Kept.Length(_rows, _leaves);
        int storage = _all.Storage[_graph.Nodes[node].Output];
        bool reads = layer.BackwardReadsOutput || _all.Readers[storage].Exists(r => _graph.Nodes[r].Layer.BackwardReadsInput);
        return kept + (reads && !layer.IsView ? (double)_rows * _graph.Width(storage) : 0);
    }

    // What a segment keeps: the values of its nodes that others read.
    private double Crossing(int begin, int end)
    {
        double floats = 0;
        for (int i = begin; i < end; i++)
        {
            int value = _graph.Nodes[i].Output;
            if (!_graph.Nodes[i].Layer.IsView && _all.Readers[value].Exists(r => r >= end)) floats += (double)_rows * _graph.Width(value);
        }

        return floats;
    }
}
