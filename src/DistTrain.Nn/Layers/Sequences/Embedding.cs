using System.Collections.Immutable;
using DistTrain.Core;
using DistTrain.Core.Config;
using DistTrain.Kernels;

namespace DistTrain.Nn;

/// <summary>
/// A table of vectors, [vocabulary, out], looked up by number, as PyTorch's Embedding. Ids come as floats, exact to 2^24:
/// [time] becomes [time, out], and [time, k] the k vectors of each position side by side, [time, k·out].
/// </summary>
/// <param name="Vocabulary">How many ids there are, from 0 on.</param>
/// <param name="Out">Values of a vector.</param>
/// <param name="Padding">
/// The id that fills rows up behind their last token; null when rows have none. Its vector is not trained, and recurrent
/// layers, attention, pooling over time and the loss leave such positions out.
/// </param>
/// <param name="First">Of [time, k]: the first id of each position that is looked up; another branch may read the others.</param>
/// <param name="Count">Of [time, k]: how many ids of each position; null for all from <paramref name="First"/> on.</param>
/// <param name="Init">The table's first values; null for normal with a variance of 1 / out.</param>
public sealed record EmbeddingSpec(int Vocabulary, int Out, int? Padding = null, int First = 0, int? Count = null, Initialiser? Init = null) : LayerSpec
{
    internal const string Name = "embedding";

    // Above this, neighbouring whole numbers are one float.
    private const int MostIds = 1 << 24;

    /// <inheritdoc/>
    public override string Kind => Name;

    internal static EmbeddingSpec Read(NamedChoice choice)
    {
        ConfigNode options = choice.Options;
        var spec = new EmbeddingSpec(
            (int)options.Require("vocabulary").AsInteger(1, MostIds),
            (int)options.Require("out").AsInteger(1, int.MaxValue),
            (int?)options.Find("padding")?.AsInteger(0, MostIds),
            (int)options.Integer("first", 0, 0, int.MaxValue),
            (int?)options.Find("count")?.AsInteger(1, int.MaxValue),
            options.Find("init") is { } init ? Initialiser.FromConfig(init) : null);
        choice.RefuseUnknown();
        return spec;
    }

    internal override void Emit(LayerBuilder builder)
    {
        if (builder.Input is not ([_] or [_, _])) throw builder.Refuse("token ids, [time] or [time, ids]", "put it first");
        if (builder.Network.Graph.NeedsGradient(builder.Network.Value)) throw builder.Refuse("token ids straight from the data", "put it first");
        if (Vocabulary is < 1 or > MostIds || Out < 1) throw builder.Refuse("a table of at least one vector", $"'vocabulary' is {Vocabulary} and 'out' {Out}");
        if (Padding is { } id && (uint)id >= (uint)Vocabulary) throw builder.Refuse($"ids from 0 to {Vocabulary - 1}", $"'padding' is {id}");
        int time = builder.Input[0], ids = builder.Input is [_, int k] ? k : 1;
        int count = Count ?? ids - First;
        if (First < 0 || count < 1 || First + (long)count > ids) throw builder.Refuse($"{First + Math.Max(count, 1)} ids for each position", $"'first' is {First} and 'count' {count}");
        if (Padding is { } padding) builder.Network.AddLengths(new TokenLengthsLayer(time, ids, First, padding), time);
        Parameter table = builder.Declare("weight", [Vocabulary, Out], Init ?? Initialisers.Normal(1 / Math.Sqrt(Out)), Vocabulary, Out);
        var layer = new EmbeddingLayer(table, builder.Name, time, ids, First, count, Padding ?? -1);
        builder.Network.Embeddings.Add((builder.Name, layer));
        builder.Append(layer);
    }
}

/// <summary>
/// An embedding. Where another layer shares the table (<see cref="UnembedLayer"/>), that layer's backward comes first and
/// leaves its gradient of every shard in <see cref="NodeBuffers.Kept"/>; this one adds its own shard by shard, the other's
/// first, and only then joins the shards, because the shard tree is over a tensor's whole gradient.
/// </summary>
internal sealed unsafe class EmbeddingLayer(Parameter table, string name, int time, int ids, int first, int count, int padding)
    : Layer([time, count * table.Shape[1]])
{
    private readonly int _vocabulary = table.Shape[0];
    private readonly int _width = table.Shape[1];

    // A cache line, where every shard's gradient begins.
    private const int Line = 16;

    private long TableRoom => WholeLines((long)_vocabulary * _width);

    /// <summary>The table.</summary>
    public Parameter Table => table;

    /// <summary>Whether another layer shares the table.</summary>
    public bool Shared { get; set; }

    /// <inheritdoc/>
    public override ImmutableArray<Parameter> Parameters => [table];

    /// <inheritdoc/>
    public override long Flops => 0;

    /// <summary>The ids, then the shards' gradients of the layer that shares the table.</summary>
    public override Room Kept => new((long)time * count, Shared ? TableRoom : 0, Line);

    /// <summary>One shard's own gradient, and where all shards' are.</summary>
    public override Room Scratch => Shared ? new(0, sizeof(nint) / sizeof(float), TableRoom) : default;

    /// <summary>Where the layer that shares the table leaves its gradient of a shard.</summary>
    public float* SharedGradient(NodeBuffers node, StepContext step, int leaf) =>
        node.Kept + WholeLines((long)step.Rows * time * count) + (leaf * TableRoom);

    /// <summary>y (rows, time, count·out) = the ids' vectors.</summary>
    public override void Forward(NodeBuffers node, StepContext step)
    {
        int* numbers = (int*)node.Kept;
        for (int row = 0; row < step.Rows; row++)
        {
            for (int t = 0; t < time; t++)
            {
                float* x = node.Input() + ((((long)row * time) + t) * ids) + first;
                for (int i = 0; i < count; i++)
                {
                    if (!(x[i] >= 0 && x[i] < _vocabulary) || x[i] != (int)x[i]) throw BadId(row, t, x[i]);
                    *numbers++ = (int)x[i];
                }
            }
        }

        Embedding.Gather(step.Weight(table), _vocabulary, _width, (int*)node.Kept, (nint)step.Rows * time * count, node.Output, _width, step.Pool);
    }

    /// <summary>dTable[r] = the sum of dy over the positions that named r.</summary>
    public override void Backward(NodeBuffers node, StepContext step)
    {
        GradientPlan plan = step.Plan!;
        for (int j = 0; j < plan.NodeCount; j++)
        {
            if (Shared) Join(node, step, j);
            else Gradient(node, step, plan.RangesOf(j, time * count), plan.LeafStartsOf(j), step.Gradient(table, j));
        }

        step.Finished(table);
    }

    private void Join(NodeBuffers node, StepContext step, int j)
    {
        GradientPlan plan = step.Plan!;
        ReadOnlySpan<KRange> ranges = plan.RangesOf(j, time * count);
        float* own = node.Scratch;
        var leaves = (void**)(own + TableRoom);
        nint length = (nint)_vocabulary * _width;
        for (int i = 0; i < ranges.Length; i++)
        {
            float* other = SharedGradient(node, step, plan.NodeLeaves[j] + i);
            Gradient(node, step, ranges.Slice(i, 1), plan.LeafStarts[..2], own);
            Elementwise.Add(other, own, other, length, step.Pool);
            leaves[i] = other;
        }

        SegmentJoin.Sum(leaves, ranges.Length, FloatFormat.Float32, step.Gradient(table, j), length, step.Pool);
    }

    private void Gradient(NodeBuffers node, StepContext step, ReadOnlySpan<KRange> ranges, ReadOnlySpan<int> leafStarts, float* target) =>
        Embedding.Gradient(
            node.OutputGradient, _width, _vocabulary, _width, (int*)node.Kept, ranges, leafStarts, target, clear: true, padding, step.Pool);

    private static long WholeLines(long length) => (length + Line - 1) / Line * Line;

    private DistTrainException BadId(int row, int position, float id) => new(
        ExitCode.BadData,
        string.Create(System.Globalization.CultureInfo.InvariantCulture, $"layer {name} ({EmbeddingSpec.Name}): row {row}, position {position}: got the token id {id:R}, wanted a whole number from 0 to {_vocabulary - 1}"));
}
