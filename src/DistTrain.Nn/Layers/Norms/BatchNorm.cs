using System.Collections.Immutable;
using DistTrain.Core.Config;
using DistTrain.Core.Layout;
using DistTrain.Kernels;
using KernelBatchNorm = DistTrain.Kernels.BatchNorm;

namespace DistTrain.Nn;

/// <summary>
/// Batch normalisation (Ioffe and Szegedy, 2015) of each channel over the examples and positions of a shard (ghost batch
/// norm: Hoffer et al., 2017), then scaled by weight [channels] and shifted by bias [channels]. In use the running mean and
/// variance take the place of the shard's, and so for a shard with fewer than 2 values of a channel, which leaves them alone.
/// Takes [n], [time, channels] and [channels, height, width].
/// </summary>
/// <param name="Momentum">running_mean and running_var become (1 − momentum)·themselves + momentum·the mini-batch's, the
/// shards' averaged by their examples; the variance is the unbiased one.</param>
/// <param name="Epsilon">Added to the variance.</param>
public sealed record BatchNormSpec(double Momentum = 0.1, double Epsilon = 1e-5) : LayerSpec
{
    internal const string Name = "batch_norm";

    /// <inheritdoc/>
    public override string Kind => Name;

    internal static BatchNormSpec Read(NamedChoice choice)
    {
        var spec = new BatchNormSpec(choice.Options.Number("momentum", 0.1, 0, 1), choice.Options.Number("epsilon", 1e-5, 0));
        choice.RefuseUnknown();
        return spec;
    }

    internal override Layer Compile(LayerBuilder builder)
    {
        (int positions, int channels) = builder.Channels();
        return new BatchNormLayer(
            builder.Input, positions, channels, (float)Epsilon,
            [
                builder.Declare("weight", [channels], Initialisers.Constant(1), channels, channels, TensorRole.Undecayed),
                builder.Declare("bias", [channels], Initialisers.Zeros, channels, channels, TensorRole.Undecayed),
                builder.DeclareBuffer("running_mean", [channels], Initialisers.Zeros, Momentum),
                builder.DeclareBuffer("running_var", [channels], Initialisers.Constant(1), Momentum),
            ],
            Activation.Identity);
    }
}

/// <summary>Batch norm and the activation behind it. Each shard is normalised by itself.</summary>
internal sealed unsafe class BatchNormLayer(
    ImmutableArray<int> shape, int positions, int channels, float epsilon, ImmutableArray<Parameter> tensors, Activation activation) : Layer(shape)
{
    private static readonly int[] OneLeaf = [0, 1];

    /// <inheritdoc/>
    public override ImmutableArray<Parameter> Parameters => tensors;

    /// <inheritdoc/>
    public override long Flops => 4L * OutputWidth;

    /// <inheritdoc/>
    public override bool BackwardReadsInput => true;

    /// <inheritdoc/>
    public override bool BackwardReadsOutput => activation != Activation.Identity;

    /// <summary>For each shard (channels) the mean and 1 / √(variance + ε) in use, and what it adds to the running ones.</summary>
    public override Room Kept => new(0, PerLeaf: 4L * channels);

    /// <summary>The ranges of positions, or the places of the shards' statistics.</summary>
    public override Room Scratch => new(0, PerLeaf: Math.Max(PositionRanges.PerLeaf, sizeof(void*) / sizeof(float)));

    private Parameter Weight => tensors[0];

    private Parameter Bias => tensors[1];

    private Parameter RunningMean => tensors[2];

    private Parameter RunningVariance => tensors[3];

    /// <inheritdoc/>
    public override Layer? Fuse(Layer next) =>
        next is ActivationLayer behind && activation == Activation.Identity
            ? new BatchNormLayer(OutputShape, positions, channels, epsilon, tensors, behind.Activation)
            : null;

    /// <inheritdoc/>
    public override void Forward(NodeBuffers node, StepContext step)
    {
        if (step.Key.Training) Train(node, step, PositionRanges.Shards(step, BatchNormSpec.Name));
        else
        {
            KernelBatchNorm.Evaluate(
                node.Input(), (nint)step.Rows * positions, channels, step.Weight(Weight), step.Weight(Bias), epsilon,
                step.Weight(RunningMean), step.Weight(RunningVariance), node.Output, step.Pool);
        }

        if (activation == Activation.Identity) return;
        Elementwise.Activate(activation, node.Output, node.Output, (nint)step.Rows * OutputWidth, step.Pool);
    }

    /// <inheritdoc/>
    public override void Backward(NodeBuffers node, StepContext step)
    {
        float* dy = node.OutputGradient;
        if (activation != Activation.Identity)
        {
            Elementwise.ActivateBackward(activation, dy, node.Output, dy, (nint)step.Rows * OutputWidth, step.Pool);
        }

        GradientPlan plan = step.Plan!;
        Join(node, step, plan, 1, RunningVariance);
        Join(node, step, plan, 0, RunningMean);
        float* dx = node.InputGradient() == null ? dy : node.InputGradient();
        for (int j = 0; j < plan.NodeCount; j++)
        {
            int leaf = plan.NodeLeaves[j];
            KernelBatchNorm.Backward(
                dy, node.Input(), channels, PositionRanges.Of(plan, j, positions, node.Scratch), plan.LeafStartsOf(j), step.Weight(Weight),
                Means(node, leaf), Reciprocals(node, plan, leaf), dx, step.Gradient(Weight, j), step.Gradient(Bias, j), step.Pool);
        }

        step.Finished(Bias);
        step.Finished(Weight);
    }

    // Shard by shard, because each one's statistics are brought to its number of examples before they join.
    private void Train(NodeBuffers node, StepContext step, GradientPlan plan)
    {
        for (int leaf = 0; leaf < plan.LeafCount; leaf++)
        {
            KRange rows = plan.Ranges[leaf];
            var range = new KRange(checked(rows.Start * positions), checked(rows.Count * positions));
            float* statistics = Statistics(node, plan, leaf);
            KernelBatchNorm.Forward(
                node.Input(), channels, new ReadOnlySpan<KRange>(in range), OneLeaf, step.Weight(Weight), step.Weight(Bias), epsilon,
                step.Weight(RunningMean), step.Weight(RunningVariance), node.Output,
                Means(node, leaf), Reciprocals(node, plan, leaf), statistics, step.Pool);
            if (range.Count >= 2)
            {
                if (positions > 1) Elementwise.Divide(positions, statistics, statistics, 2 * channels);
            }
            else if (range.Count == 1)
            {
                Elementwise.Copy(step.Weight(RunningMean), statistics, channels);
                Elementwise.Copy(step.Weight(RunningVariance), statistics + channels, channels);
            }
        }
    }

    // Σ examples · statistic over each node's shards, along the tree.
    private void Join(NodeBuffers node, StepContext step, GradientPlan plan, int which, Parameter buffer)
    {
        var places = (void**)node.Scratch;
        for (int j = 0; j < plan.NodeCount; j++)
        {
            int first = plan.NodeLeaves[j], count = plan.NodeLeaves[j + 1] - first;
            for (int i = 0; i < count; i++) places[i] = Statistics(node, plan, first + i) + (which * channels);
            SegmentJoin.Sum(places, count, FloatFormat.Float32, step.Gradient(buffer, j), channels, step.Pool);
        }

        step.Finished(buffer);
    }

    private float* Means(NodeBuffers node, int leaf) => node.Kept + ((long)leaf * channels);

    private float* Reciprocals(NodeBuffers node, GradientPlan plan, int leaf) => node.Kept + (((long)plan.LeafCount + leaf) * channels);

    private float* Statistics(NodeBuffers node, GradientPlan plan, int leaf) => node.Kept + (((2L * plan.LeafCount) + (2L * leaf)) * channels);
}
