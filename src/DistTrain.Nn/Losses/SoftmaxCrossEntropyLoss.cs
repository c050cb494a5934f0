using System.Collections.Immutable;
using DistTrain.Core;
using DistTrain.Core.Config;
using DistTrain.Kernels;

namespace DistTrain.Nn;

/// <summary>
/// loss = ln Σ e^x_i − x_label, the gradient softmax(x) − onehot(label). Of outputs [classes] every example has a label, of
/// [time, classes] every position; positions of padding don't count, where the embedding says which they are. The weight
/// sum counts labels, or adds up their class weights, so the mean is PyTorch's <c>CrossEntropyLoss</c>. Data with real
/// targets has a probability of each class instead (soft labels); then the weight sum counts distributions.
/// </summary>
/// <param name="LabelSmoothing">This share of the target, 0 to 1, is spread evenly over all classes.</param>
/// <param name="ClassWeights">What each class's labels weigh; empty for 1.</param>
/// <param name="IgnoreIndex">A label that doesn't count; it need not be a class. Null for none.</param>
public sealed record SoftmaxCrossEntropySpec(double LabelSmoothing = 0, ImmutableArray<double> ClassWeights = default, int? IgnoreIndex = null) : LossSpec
{
    internal const string Name = "softmax_cross_entropy";

    /// <inheritdoc/>
    public override string Kind => Name;

    /// <summary>What each class's labels weigh; empty for 1.</summary>
    public ImmutableArray<double> ClassWeights { get; init; } = ClassWeights.IsDefault ? [] : ClassWeights;

    /// <summary>Two are the same when their options are.</summary>
    public bool Equals(SoftmaxCrossEntropySpec? other) =>
        other is not null && LabelSmoothing.Equals(other.LabelSmoothing) && IgnoreIndex == other.IgnoreIndex && ClassWeights.SequenceEqual(other.ClassWeights);

    /// <inheritdoc/>
    public override int GetHashCode() => ClassWeights.Aggregate(HashCode.Combine(LabelSmoothing, IgnoreIndex), HashCode.Combine);

    /// <inheritdoc/>
    public override bool TakesMixedLabels => IgnoreIndex is null;

    internal static SoftmaxCrossEntropySpec Read(NamedChoice choice)
    {
        ConfigNode options = choice.Options;
        if (options.Kind != ConfigKind.Map) throw options.Error($"'{Name}' takes named options, got {options.Describe()}");
        var spec = new SoftmaxCrossEntropySpec(
            options.Number("label_smoothing", 0, 0, 1),
            options.Find("class_weights") is { } weights ? Weights(weights) : [],
            (int?)options.Find("ignore_index")?.AsInteger(int.MinValue, int.MaxValue));
        choice.RefuseUnknown();
        return spec;
    }

    internal override Loss Compile(ImmutableArray<int> output, int? classes, int targetWidth)
    {
        bool soft = classes is null;
        TargetShape shape = soft ? SoftShape(output, targetWidth) : default;
        int count = classes ?? shape.Width;
        if (ClassWeights.Length != 0 && ClassWeights.Length != count)
        {
            throw new DistTrainException(ExitCode.BadUsage, $"loss: {Kind}: got {ClassWeights.Length} class weights, wanted {count}, one for each class of the data");
        }

        if (!(LabelSmoothing is >= 0 and <= 1)) throw new DistTrainException(ExitCode.BadUsage, $"loss: {Kind}: got a label smoothing of {LabelSmoothing}, wanted 0 to 1");
        if (soft) return new SoftCrossEntropyLoss(shape, this);
        // Sequences have a label at each position.
        int time = output is [int t, _] ? t : 1;
        RequireOutput(output, output is [_, _] ? [time, count] : [count], $"the data has {count} classes");
        return new SoftmaxCrossEntropyLoss(count, time, this);
    }

    // A single target is a number to be met rather than a distribution.
    private TargetShape SoftShape(ImmutableArray<int> output, int targetWidth)
    {
        if (targetWidth == 1) throw Refused($"wants class labels or a probability of each class, got data with one real target; use 'loss: {SquaredErrorSpec.Name}' for regression");
        if (IgnoreIndex is not null) throw Refused("got an ignore_index, which labels have, and data with a probability of each class");
        return ShapeOf(output, null, targetWidth);
    }

    private static ImmutableArray<double> Weights(ConfigNode node) => node.Kind == ConfigKind.List
        ? [.. node.Items.Select(w => w.AsNumber(0))]
        : throw node.Error($"expected a list of weights, one for each class, got {node.Describe()}");
}

/// <summary>Softmax cross-entropy for a number of classes, at each position.</summary>
internal sealed unsafe class SoftmaxCrossEntropyLoss(int classes, int positions, SoftmaxCrossEntropySpec spec) : Loss(positions, weightPerPosition: 1)
{
    // What padding is labelled, where nothing else is ignored.
    private const int Padding = -1;

    private readonly float[]? _classWeights = spec.ClassWeights.IsEmpty ? null : [.. spec.ClassWeights.Select(w => (float)w)];
    private readonly bool _plain = spec is { LabelSmoothing: 0, ClassWeights.IsEmpty: true, IgnoreIndex: null };
    private readonly int _ignored = spec.IgnoreIndex ?? Padding;

    /// <inheritdoc/>
    public override bool WritesWeights => true;

    /// <inheritdoc/>
    public override bool Counts(int label) => label != _ignored;

    /// <inheritdoc/>
    public override void Run(in LossRows rows)
    {
        nint count = (nint)rows.Rows * Positions;
        if (rows.Lengths != null) LabelPadding(rows);
        if (_plain && rows.Lengths == null)
        {
            SoftmaxCrossEntropy.Run(rows.Output, rows.Labels, count, classes, rows.Losses, rows.Gradient, rows.Correct, rows.Pool);
            Elementwise.Fill(rows.Weights, count, 1);
            return;
        }

        fixed (float* weights = _classWeights)
        {
            var options = new CrossEntropyOptions
            {
                LabelSmoothing = (float)spec.LabelSmoothing,
                ClassWeights = weights,
                IgnoredLabel = spec.IgnoreIndex is not null || rows.Lengths != null ? _ignored : null,
            };
            SoftmaxCrossEntropy.Run(rows.Output, rows.Labels, count, classes, in options, rows.Losses, rows.Weights, rows.Gradient, rows.Correct, rows.Pool);
        }
    }

    private void LabelPadding(in LossRows rows)
    {
        for (int row = 0; row < rows.Rows; row++)
        {
            int length = rows.Lengths[row];
            new Span<int>(rows.Labels + ((long)row * Positions) + length, Positions - length).Fill(_ignored);
        }
    }
}
