using System.Collections.Immutable;

namespace DistTrain.Nn;

/// <summary>Nodes [First, End) of which backward finds nothing kept: they run forward again, from what lies before them.</summary>
internal readonly record struct Segment(int First, int End);

/// <summary>
/// When each node runs within a step: all forward, the loss, and all backward from the last to the first, where a
/// segment's nodes run forward once more before the segment goes back (gradient checkpointing: T. Chen et al. 2016,
/// "Training Deep Nets with Sublinear Memory Cost"). Forward gives the same bits both times, so that only time and memory change.
/// </summary>
internal sealed class StepSchedule
{
    private readonly int[] _segments;
    private readonly int[] _again;
    private readonly int[] _back;

    /// <param name="graph">The network.</param>
    /// <param name="segments">Ascending and apart; none for a step that keeps everything.</param>
    public StepSchedule(LayerGraph graph, ImmutableArray<Segment> segments)
    {
        Graph = graph;
        Segments = segments;
        int n = graph.Nodes.Count;
        _segments = new int[n];
        _again = new int[n];
        _back = new int[n];
        Array.Fill(_segments, -1);
        Array.Fill(_again, -1);
        for (int s = 0; s < segments.Length; s++) Array.Fill(_segments, s, segments[s].First, segments[s].End - segments[s].First);
        Storage = StorageOf(graph);
        (Producer, Readers) = EndsOf(graph, Storage);
        bool[] wanted = Wanted();
        int moment = n + 1;
        for (int i = n - 1; i >= 0; i--)
        {
            if (BeginsGoingBack(i))
            {
                for (int j = segments[_segments[i]].First; j <= i; j++)
                {
                    if (wanted[j]) _again[j] = moment++;
                }
            }

            _back[i] = moment++;
        }

        End = moment;
    }

    public LayerGraph Graph { get; }

    public ImmutableArray<Segment> Segments { get; }

    /// <summary>For each value the one whose memory it has: a view has another's.</summary>
    public int[] Storage { get; }

    /// <summary>The node that writes each storage; -1 for the model's input.</summary>
    public int[] Producer { get; }

    /// <summary>The nodes that read each storage, ascending.</summary>
    public List<int>[] Readers { get; }

    /// <summary>The loss's moment; node i runs forward at i.</summary>
    public int Loss => Graph.Nodes.Count;

    /// <summary>The moment after all.</summary>
    public int End { get; }

    /// <summary>When a node runs forward again; -1 for never.</summary>
    public int Again(int node) => _again[node];

    /// <summary>When a node runs backward.</summary>
    public int Back(int node) => _back[node];

    /// <summary>Whether going back through a node is the beginning of going back through its segment.</summary>
    public bool BeginsGoingBack(int node) => _segments[node] >= 0 && (node + 1 == _segments.Length || _segments[node + 1] != _segments[node]);

    /// <summary>The first node of the segment of a node.</summary>
    public int SegmentFirst(int node) => Segments[_segments[node]].First;

    /// <summary>Operations of one example that are done twice.</summary>
    public long RepeatedFlops()
    {
        long sum = 0;
        for (int i = 0; i < _again.Length; i++)
        {
            if (_again[i] >= 0) sum += Graph.Nodes[i].Layer.Flops;
        }

        return sum;
    }

    /// <summary>Whether a storage is read outside its node's segment on the way back, so that it is kept instead of computed again.</summary>
    private bool Kept(int storage, bool[] wanted)
    {
        int producer = Producer[storage];
        if (producer < 0 || _segments[producer] < 0 || storage == Storage[Graph.Output]) return true;
        if (Graph.OutputLengths is { } lengths && Storage[lengths] == storage) return true;
        foreach (int reader in Readers[storage])
        {
            if (_segments[reader] != _segments[producer] && (Graph.Nodes[reader].Layer.BackwardReadsInput || wanted[reader])) return true;
        }

        return false;
    }

    // Which nodes run again: those that leave something beside values, and those whose output backward or another of them reads.
    private bool[] Wanted()
    {
        bool[] wanted = new bool[_segments.Length];
        for (int i = _segments.Length - 1; i >= 0; i--)
        {
            Layer layer = Graph.Nodes[i].Layer;
            if (_segments[i] < 0 || layer.IsView) continue;
            int storage = Storage[Graph.Nodes[i].Output];
            wanted[i] = layer.Kept != default
                || (!Kept(storage, wanted) && (layer.BackwardReadsOutput || Readers[storage].Exists(r => Graph.Nodes[r].Layer.BackwardReadsInput || wanted[r])));
        }

        return wanted;
    }

    private static int[] StorageOf(LayerGraph graph)
    {
        int[] storage = [.. Enumerable.Range(0, graph.ValueCount)];
        foreach (LayerNode node in graph.Nodes)
        {
            if (node.Layer.IsView) storage[node.Output] = storage[node.Inputs[0]];
        }

        return storage;
    }

    private static (int[] Producer, List<int>[] Readers) EndsOf(LayerGraph graph, int[] storage)
    {
        int[] producer = new int[graph.ValueCount];
        Array.Fill(producer, -1);
        List<int>[] readers = [.. Enumerable.Range(0, graph.ValueCount).Select(_ => new List<int>())];
        for (int i = 0; i < graph.Nodes.Count; i++)
        {
            LayerNode node = graph.Nodes[i];
            if (node.Layer.IsView) continue;
            producer[node.Output] = i;
            foreach (int input in node.Inputs) readers[storage[input]].Add(i);
        }

        return (producer, readers);
    }
}
