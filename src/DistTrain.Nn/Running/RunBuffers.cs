using DistTrain.Kernels;

namespace DistTrain.Nn;

/// <summary>
/// The values and gradients of a run, planned once: how long each is needed follows from the graph, and those that are
/// never needed at the same moment share memory.
/// </summary>
/// <remarks>
/// Moments of a step: node i runs forward at i, the loss at n, node i backward at 2n − i. The model's input and output
/// stay for the whole step. A view's output is its input's storage. Of several nodes that read a value, the last one
/// writes its gradient and the others, whose backward comes later, add theirs to it, in that order.
/// </remarks>
internal sealed unsafe class RunBuffers : IDisposable
{
    private readonly NativeBuffer _arena;

    public RunBuffers(LayerGraph graph, int maxRows, int maxLeaves)
    {
        int n = graph.Nodes.Count;
        var lives = new Lives(graph, maxRows);
        for (int i = 0; i < n; i++)
        {
            LayerNode node = graph.Nodes[i];
            int back = (2 * n) - i;
            lives.Value(node.Output, i);
            if (node.Layer.BackwardReadsOutput) lives.Value(node.Output, back);
            if (graph.NeedsGradient(node.Output)) lives.Gradient(node.Output, back);
            foreach (int input in node.Inputs)
            {
                lives.Value(input, node.Layer.BackwardReadsInput ? back : i);
                if (graph.NeedsGradient(input)) lives.Gradient(input, back);
            }
        }

        foreach (int kept in (ReadOnlySpan<int>)[0, graph.Output])
        {
            lives.Value(kept, -1);
            lives.Value(kept, (2 * n) + 1);
        }

        if (graph.OutputLengths is { } lengths) lives.Value(lengths, (2 * n) + 1);
        if (graph.NeedsGradient(graph.Output)) lives.Gradient(graph.Output, n);
        (int Node, int Input)[] first = lives.FirstReaders();
        var parts = new int[n][];
        var keeps = new int[n];
        long scratch = 0;
        for (int i = 0; i < n; i++)
        {
            LayerNode node = graph.Nodes[i];
            int back = (2 * n) - i;
            keeps[i] = lives.Extra(node.Layer.Kept.Length(maxRows, maxLeaves), i, back);
            scratch = Math.Max(scratch, node.Layer.Scratch.Length(maxRows, maxLeaves));
            parts[i] = [.. node.Inputs.Select((value, j) =>
                !graph.NeedsGradient(value) || node.Layer.IsView || first[lives.Storage(value)] == (i, j) ? -1 : lives.Extra((long)maxRows * graph.Width(value), back, back))];
        }

        int room = lives.Extra(scratch, 0, 2 * n);
        var plan = new ArenaPlan(lives.Requests());
        _arena = new NativeBuffer(plan.Length);
        float* At(int request) => request < 0 ? null : _arena.Pointer + plan.Offsets[request];

        Input = At(lives.ValueRequest(0));
        Output = At(lives.ValueRequest(graph.Output));
        OutputGradient = At(lives.GradientRequest(graph.Output));
        Lengths = graph.OutputLengths is { } ends ? (int*)At(lives.ValueRequest(ends)) : null;
        Nodes = new NodeBuffers[n];
        for (int i = 0; i < n; i++)
        {
            LayerNode node = graph.Nodes[i];
            int count = node.Inputs.Length;
            float*[] inputs = new float*[count], gradients = new float*[count], sums = new float*[count];
            for (int j = 0; j < count; j++)
            {
                inputs[j] = At(lives.ValueRequest(node.Inputs[j]));
                float* whole = graph.NeedsGradient(node.Inputs[j]) ? At(lives.GradientRequest(node.Inputs[j])) : null;
                gradients[j] = parts[i][j] < 0 ? whole : At(parts[i][j]);
                sums[j] = parts[i][j] < 0 ? null : whole;
            }

            Nodes[i] = new NodeBuffers(
                inputs, gradients, sums, At(lives.ValueRequest(node.Output)), At(lives.GradientRequest(node.Output)), At(keeps[i]), At(room))
            {
                State = node.Layer.NewState(),
            };
        }

        for (int i = 0; i < n; i++)
        {
            if (graph.Nodes[i].Layer.Partner is { } partner) Nodes[i].Partner = Nodes[graph.IndexOf(partner)];
        }
    }

    /// <summary>(rows, features).</summary>
    public float* Input { get; }

    /// <summary>(rows, outputs).</summary>
    public float* Output { get; }

    /// <summary>(rows, outputs).</summary>
    public float* OutputGradient { get; }

    /// <summary>(rows): how many positions of each row's output count; null where all do.</summary>
    public int* Lengths { get; }

    /// <summary>By the graph's node.</summary>
    public NodeBuffers[] Nodes { get; }

    /// <summary>Floats of all values and gradients together.</summary>
    public long Length => _arena.Length;

    public void Dispose()
    {
        foreach (NodeBuffers node in Nodes) node.State?.Dispose();
        _arena.Dispose();
    }
}

/// <summary>How long each value, gradient and other buffer of a step is needed.</summary>
internal sealed class Lives
{
    private readonly LayerGraph _graph;
    private readonly int _maxRows;
    private readonly int[] _storage;
    private readonly ArenaRequest?[] _values;
    private readonly ArenaRequest?[] _gradients;
    private readonly List<ArenaRequest> _extra = [];

    public Lives(LayerGraph graph, int maxRows)
    {
        (_graph, _maxRows) = (graph, maxRows);
        _storage = [.. Enumerable.Range(0, graph.ValueCount)];
        foreach (LayerNode node in graph.Nodes)
        {
            if (node.Layer.IsView) _storage[node.Output] = _storage[node.Inputs[0]];
        }

        _values = new ArenaRequest?[graph.ValueCount];
        _gradients = new ArenaRequest?[graph.ValueCount];
    }

    /// <summary>The value whose memory a value has: a view has another's.</summary>
    public int Storage(int value) => _storage[value];

    public void Value(int value, int moment) => Use(_values, value, moment);

    public void Gradient(int value, int moment) => Use(_gradients, value, moment);

    /// <summary>Asks for another buffer; gives its request, -1 for none.</summary>
    public int Extra(long length, int first, int last)
    {
        if (length == 0) return -1;
        _extra.Add(new ArenaRequest(length, first, last));
        return _values.Length + _gradients.Length + _extra.Count - 1;
    }

    /// <summary>For each storage, the node and its input that backward comes to first.</summary>
    public (int Node, int Input)[] FirstReaders()
    {
        var first = new (int Node, int Input)[_graph.ValueCount];
        Array.Fill(first, (-1, -1));
        for (int i = 0; i < _graph.Nodes.Count; i++)
        {
            LayerNode node = _graph.Nodes[i];
            if (node.Layer.IsView) continue;
            for (int j = node.Inputs.Length - 1; j >= 0; j--) first[Storage(node.Inputs[j])] = (i, j);
        }

        return first;
    }

    public int ValueRequest(int value) => _values[Storage(value)] is null ? -1 : Storage(value);

    public int GradientRequest(int value) => _gradients[Storage(value)] is null ? -1 : _values.Length + Storage(value);

    public List<ArenaRequest> Requests() => [.. _values.Concat(_gradients).Select(r => r ?? default), .. _extra];

    private void Use(ArenaRequest?[] requests, int value, int moment)
    {
        int s = Storage(value);
        ArenaRequest old = requests[s] ?? new((long)_maxRows * _graph.Width(s), moment, moment);
        requests[s] = old with { First = Math.Min(old.First, moment), Last = Math.Max(old.Last, moment) };
    }
}
