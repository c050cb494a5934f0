using DistTrain.Kernels;

namespace DistTrain.Nn;

/// <summary>
/// The values and gradients of a run, planned once: how long each is needed follows from the graph, and those that are
/// never needed at the same moment share memory.
/// </summary>
/// <remarks>
/// Moments of a step: node i runs forward at i, the loss at n, node i backward at 2n − i. The model's input and output
/// stay for the whole step. A view's output is its input's storage.
/// </remarks>
internal sealed unsafe class RunBuffers : IDisposable
{
    private readonly NativeBuffer _arena;

    public RunBuffers(LayerGraph graph, int maxRows)
    {
        int n = graph.Nodes.Count;
        int[] storage = Storages(graph);
        var values = new ArenaRequest?[graph.ValueCount];
        var gradients = new ArenaRequest?[graph.ValueCount];
        void Use(ArenaRequest?[] requests, int value, int moment)
        {
            int s = storage[value];
            ArenaRequest old = requests[s] ?? new((long)maxRows * graph.Width(s), moment, moment);
            requests[s] = old with { First = Math.Min(old.First, moment), Last = Math.Max(old.Last, moment) };
        }

        for (int i = 0; i < n; i++)
        {
            LayerNode node = graph.Nodes[i];
            Use(values, node.Output, i);
            if (node.Layer.BackwardReadsOutput) Use(values, node.Output, (2 * n) - i);
            if (graph.NeedsGradient(node.Output)) Use(gradients, node.Output, (2 * n) - i);
            foreach (int input in node.Inputs)
            {
                Use(values, input, node.Layer.BackwardReadsInput ? (2 * n) - i : i);
                if (graph.NeedsGradient(input)) Use(gradients, input, (2 * n) - i);
            }
        }

        foreach (int kept in (ReadOnlySpan<int>)[0, graph.Output])
        {
            Use(values, kept, -1);
            Use(values, kept, (2 * n) + 1);
        }

        if (graph.NeedsGradient(graph.Output)) Use(gradients, graph.Output, n);

        ArenaRequest[] all = [.. values.Concat(gradients).Select(r => r ?? default)];
        var plan = new ArenaPlan(all);
        _arena = new NativeBuffer(plan.Length);
        float* At(ArenaRequest?[] requests, int value) =>
            requests[storage[value]] is null ? null : _arena.Pointer + plan.Offsets[storage[value] + (requests == gradients ? values.Length : 0)];

        Input = At(values, 0);
        Output = At(values, graph.Output);
        OutputGradient = At(gradients, graph.Output);
        Nodes = new NodeBuffers[n];
        for (int i = 0; i < n; i++)
        {
            LayerNode node = graph.Nodes[i];
            var inputs = new float*[node.Inputs.Length];
            var inputGradients = new float*[node.Inputs.Length];
            for (int j = 0; j < inputs.Length; j++)
            {
                inputs[j] = At(values, node.Inputs[j]);
                inputGradients[j] = graph.NeedsGradient(node.Inputs[j]) ? At(gradients, node.Inputs[j]) : null;
            }

            Nodes[i] = new NodeBuffers(inputs, inputGradients, At(values, node.Output), At(gradients, node.Output));
        }
    }

    /// <summary>(rows, features).</summary>
    public float* Input { get; }

    /// <summary>(rows, outputs).</summary>
    public float* Output { get; }

    /// <summary>(rows, outputs).</summary>
    public float* OutputGradient { get; }

    /// <summary>By the graph's node.</summary>
    public NodeBuffers[] Nodes { get; }

    /// <summary>Floats of all values and gradients together.</summary>
    public long Length => _arena.Length;

    public void Dispose() => _arena.Dispose();

    private static int[] Storages(LayerGraph graph)
    {
        int[] storage = [.. Enumerable.Range(0, graph.ValueCount)];
        foreach (LayerNode node in graph.Nodes)
        {
            if (node.Layer.IsView) storage[node.Output] = storage[node.Inputs[0]];
        }

        return storage;
    }
}
