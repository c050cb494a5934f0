using DistTrain.Kernels;

namespace DistTrain.Nn;

/// <summary>The values and gradients of a run in the memory that its <see cref="RunLayout"/> planned.</summary>
internal sealed unsafe class RunBuffers : IDisposable
{
    private readonly NativeBuffer _arena;

    public RunBuffers(RunLayout layout)
    {
        LayerGraph graph = layout.Schedule.Graph;
        int n = graph.Nodes.Count;
        _arena = new NativeBuffer(layout.Length);
        float* At(long offset) => offset < 0 ? null : _arena.Pointer + offset;

        Input = At(layout.Value(0));
        Output = At(layout.Value(graph.Output));
        OutputGradient = At(layout.Gradient(graph.Output));
        Lengths = graph.OutputLengths is { } ends ? (int*)At(layout.Value(ends)) : null;
        Nodes = new NodeBuffers[n];
        for (int i = 0; i < n; i++)
        {
            LayerNode node = graph.Nodes[i];
            int count = node.Inputs.Length;
            float*[] inputs = new float*[count], gradients = new float*[count], sums = new float*[count];
            for (int j = 0; j < count; j++)
            {
                inputs[j] = At(layout.Value(node.Inputs[j]));
                float* whole = At(layout.Gradient(node.Inputs[j]));
                float* part = At(layout.Part(i, j));
                gradients[j] = part == null ? whole : part;
                sums[j] = part == null ? null : whole;
            }

            Nodes[i] = new NodeBuffers(
                inputs, gradients, sums, At(layout.Value(node.Output)), At(layout.Gradient(node.Output)), At(layout.Kept(i)), At(layout.Room))
            {
                State = node.Layer.NewState(),
            };
        }

        Packing = layout.Packed.Count > 0 ? new Packing(layout, _arena.Pointer) : null;
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

    /// <summary>What lies in 16 bits between forward and backward; null when nothing does.</summary>
    public Packing? Packing { get; }

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
