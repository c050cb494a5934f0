namespace DistTrain.Nn;

/// <summary>
/// Where everything of a step lies in one arena, planned before any of it is there: how long each buffer is needed
/// follows from the schedule, and those that are never needed at the same moment share memory.
/// </summary>
/// <remarks>
/// The model's input and output stay for the whole step. A view's output is its input's storage. Of several nodes that
/// read a value, the last one writes its gradient and the others, whose backward comes later, add theirs to it, in that
/// order.
/// </remarks>
internal sealed class RunLayout
{
    private readonly Lives _lives;
    private readonly ArenaPlan _plan;
    private readonly int[][] _parts;
    private readonly int[] _keeps;
    private readonly int _room;

    public RunLayout(StepSchedule schedule, int maxRows, int maxLeaves)
    {
        Schedule = schedule;
        LayerGraph graph = schedule.Graph;
        int n = graph.Nodes.Count;
        _lives = new Lives(schedule, maxRows);
        (int Node, int Input)[] first = FirstReaders(schedule);
        HashSet<Layer> partners = [.. graph.Nodes.Select(node => node.Layer.Partner).OfType<Layer>()];
        _parts = new int[n][];
        _keeps = new int[n];
        long scratch = 0;
        for (int i = 0; i < n; i++)
        {
            LayerNode node = graph.Nodes[i];
            int back = schedule.Back(i);
            int again = schedule.Again(i);
            long kept = node.Layer.Kept.Length(maxRows, maxLeaves);
            _keeps[i] = again < 0 || partners.Contains(node.Layer) ? _lives.Extra(kept, new Life(i, back)) : _lives.Extra(kept, new Life(i, i), new Life(again, back));
            scratch = Math.Max(scratch, node.Layer.Scratch.Length(maxRows, maxLeaves));
            _parts[i] = [.. node.Inputs.Select((value, j) =>
                !graph.NeedsGradient(value) || node.Layer.IsView || first[schedule.Storage[value]] == (i, j)
                    ? -1
                    : _lives.Extra((long)maxRows * graph.Width(value), new Life(back, back)))];
        }

        _room = _lives.Extra(scratch, new Life(0, schedule.End));
        _plan = new ArenaPlan(_lives.Requests());
    }

    public StepSchedule Schedule { get; }

    /// <summary>Floats of the arena.</summary>
    public long Length => _plan.Length;

    /// <summary>Where the values of a value lie.</summary>
    public long Value(int value) => At(_lives.ValueRequest(value));

    /// <summary>Where its gradient lies; -1 when nobody wants it.</summary>
    public long Gradient(int value) => Schedule.Graph.NeedsGradient(value) ? At(_lives.GradientRequest(value)) : -1;

    /// <summary>Where a node writes its part of an input's gradient, which is added to the whole; -1 when it writes the whole.</summary>
    public long Part(int node, int input) => At(_parts[node][input]);

    /// <summary>The values that lie in 16 bits between forward and backward.</summary>
    public IReadOnlyList<PackedValue> Packed => _lives.Packed;

    /// <summary>Where such a value lies then, in floats.</summary>
    public long Room16(PackedValue packed) => At(packed.Request);

    /// <summary>What a node's forward leaves for its backward; -1 for nothing.</summary>
    public long Kept(int node) => At(_keeps[node]);

    /// <summary>Room that all nodes work in; -1 for none.</summary>
    public long Room => At(_room);

    private long At(int request) => request < 0 ? -1 : _plan.Offsets[request];

    // For each storage, the node and its input that backward comes to first.
    private static (int Node, int Input)[] FirstReaders(StepSchedule schedule)
    {
        var first = new (int Node, int Input)[schedule.Graph.ValueCount];
        Array.Fill(first, (-1, -1));
        for (int i = 0; i < schedule.Graph.Nodes.Count; i++)
        {
            LayerNode node = schedule.Graph.Nodes[i];
            if (node.Layer.IsView) continue;
            for (int j = node.Inputs.Length - 1; j >= 0; j--) first[schedule.Storage[node.Inputs[j]]] = (i, j);
        }

        return first;
    }
}
