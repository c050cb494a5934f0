using System.Collections.Immutable;
using DistTrain.Core.Config;
using DistTrain.Core.Layout;
using DistTrain.Kernels;

namespace DistTrain.Nn;

/// <summary>
/// A dense layer whose weights are an embedding's table: y = x·Eᵀ + b, so [time, features] becomes [time, vocabulary].
/// Tied weights (Press and Wolf, 2017, 'Using the output embedding to improve language models').
/// </summary>
/// <param name="Of">The embedding layer's name, its index as a rule; null when there is only one.</param>
/// <param name="Bias">Whether b, [vocabulary], is there.</param>
public sealed record UnembedSpec(string? Of = null, bool Bias = false) : LayerSpec
{
    internal const string Name = "unembed";

    /// <inheritdoc/>
    public override string Kind => Name;

    internal static UnembedSpec Read(NamedChoice choice)
    {
        if (choice.HasMainValue) return new UnembedSpec(choice.Options.AsText());
        var spec = new UnembedSpec(choice.Options.Find("of")?.AsText(), choice.Options.Flag("bias", false));
        choice.RefuseUnknown();
        return spec;
    }

    internal override Layer Compile(LayerBuilder builder)
    {
        (string Name, EmbeddingLayer Layer)[] tables = [.. builder.Network.Embeddings.Where(e => Of is null || e.Name == Of)];
        string known = builder.Network.Embeddings.Count == 0 ? "there is none" : $"there is {string.Join(", ", builder.Network.Embeddings.Select(e => e.Name))}";
        if (tables is not [(string name, EmbeddingLayer embedding)])
        {
            throw builder.Refuse(Of is null ? "exactly one 'embedding' before it" : $"the 'embedding' {Of} before it", $"{known}; 'of' says which");
        }

        int vocabulary = embedding.Table.Shape[0], features = embedding.Table.Shape[1];
        if (builder.Input is not ([.., int inputs] and ([_] or [_, _])) || inputs != features) throw builder.Refuse($"{features} features, as layer {name} (embedding) has", $"put 'dense: {features}' before it");
        if (embedding.Shared) throw builder.Refuse("a table that no other 'unembed' shares", $"layer {name} (embedding) has one already");
        embedding.Shared = true;
        Parameter? bias = Bias ? builder.Declare("bias", [vocabulary], Initialisers.Zeros, features, vocabulary, TensorRole.Undecayed) : null;
        return new UnembedLayer(embedding, bias, builder.Input is [int time, _] ? time : null);
    }
}

/// <summary>
/// An embedding's table as a dense layer's weights. The embedding finishes the table's gradient; this layer leaves its part
/// of each shard with it.
/// </summary>
internal sealed unsafe class UnembedLayer(EmbeddingLayer embedding, Parameter? bias, int? time)
    : Layer(time is { } t ? [t, embedding.Table.Shape[0]] : [embedding.Table.Shape[0]])
{
    private readonly int _vocabulary = embedding.Table.Shape[0];
    private readonly int _width = embedding.Table.Shape[1];
    private readonly int _positions = time ?? 1;

    /// <inheritdoc/>
    public override ImmutableArray<Parameter> Parameters => bias is null ? [] : [bias];

    /// <inheritdoc/>
    public override Layer Partner => embedding;

    /// <inheritdoc/>
    public override long Flops => (2L * _width * OutputWidth) + (bias is null ? 0 : OutputWidth);

    /// <inheritdoc/>
    public override bool BackwardReadsInput => true;

    /// <summary>y (rows·time, vocabulary) = x (rows·time, features) · Eᵀ + b.</summary>
    public override void Forward(NodeBuffers node, StepContext step) =>
        Gemm.Multiply(
            MatrixForm.Normal, MatrixForm.Transposed, (nint)step.Rows * _positions, _vocabulary, _width,
            1, node.Input(), _width, step.Weight(embedding.Table), _width, 0, node.Output, _vocabulary,
            new GemmEpilogue(bias is null ? null : step.Weight(bias)), step.Pool);

    /// <summary>dE and db, then dx = dy · E.</summary>
    public override void Backward(NodeBuffers node, StepContext step)
    {
        GradientPlan plan = step.Plan!;
        for (int j = 0; j < plan.NodeCount; j++)
        {
            ReadOnlySpan<KRange> ranges = plan.RangesOf(j, _positions);
            for (int i = 0; i < ranges.Length; i++)
            {
                SegmentedGemm.WeightGradient(
                    node.OutputGradient, _vocabulary, node.Input(), _width, _vocabulary, _width, ranges.Slice(i, 1), plan.LeafStarts[..2],
                    embedding.SharedGradient(node.Partner!, step, plan.NodeLeaves[j] + i), _width, step.Pool);
            }

            if (bias is not null) SegmentedGemm.ColumnSum(node.OutputGradient, _vocabulary, _vocabulary, ranges, plan.LeafStartsOf(j), step.Gradient(bias, j), step.Pool);
        }

        if (bias is not null) step.Finished(bias);
        if (node.InputGradient() == null) return;
        Gemm.Multiply(
            MatrixForm.Normal, MatrixForm.Normal, (nint)step.Rows * _positions, _width, _vocabulary,
            1, node.OutputGradient, _vocabulary, step.Weight(embedding.Table), _width, 0, node.InputGradient(), _width, default, step.Pool);
    }
}
