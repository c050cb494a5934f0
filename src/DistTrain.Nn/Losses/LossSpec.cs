using System.Collections.Immutable;
using DistTrain.Core;
using DistTrain.Core.Config;

namespace DistTrain.Nn;

/// <summary>The description of a loss.</summary>
public abstract record LossSpec
{
    private static readonly Dictionary<string, Func<NamedChoice, LossSpec>> Readers = new(StringComparer.Ordinal)
    {
        [SoftmaxCrossEntropySpec.Name] = SoftmaxCrossEntropySpec.Read,
        [SquaredErrorSpec.Name] = SquaredErrorSpec.Read,
        [AbsoluteErrorSpec.Name] = choice => Plain(choice, new AbsoluteErrorSpec()),
        [HuberSpec.Name] = HuberSpec.Read,
        [BinaryCrossEntropySpec.Name] = choice => Plain(choice, new BinaryCrossEntropySpec()),
        [KlDivergenceSpec.Name] = choice => Plain(choice, new KlDivergenceSpec()),
        [HingeSpec.Name] = HingeSpec.Read,
    };

    /// <summary>The loss's name in a job.</summary>
    public abstract string Kind { get; }

    /// <summary>
    /// Reads a loss: <c>squared_error</c> or <c>{ softmax_cross_entropy: { label_smoothing: 0.1 } }</c>.
    /// </summary>
    /// <exception cref="DistTrainException">The loss is unknown (with the nearest spelling), or an option is wrong.</exception>
    public static LossSpec FromConfig(ConfigNode node)
    {
        NamedChoice choice = NamedChoice.Read(node, "loss", Readers.Keys);
        return Readers[choice.Name](choice);
    }

    /// <summary>Makes the loss for a model's output, or says why it can't be.</summary>
    /// <param name="output">The shape of one example's output.</param>
    /// <param name="classes">How many classes the labels have; null for regression.</param>
    /// <param name="targetWidth">Values of one example's target, for regression.</param>
    internal abstract Loss Compile(ImmutableArray<int> output, int? classes, int targetWidth);

    /// <summary>Whether it takes a share of each class in place of a label, which mixup and CutMix make.</summary>
    public virtual bool TakesMixedLabels => true;

    /// <summary>The same loss of such shares.</summary>
    internal Loss CompileMixed(ImmutableArray<int> output, int? classes)
    {
        if (!TakesMixedLabels || classes is not { } count) throw Refused("does not take the mixed labels that mixup and cutmix make");
        if (output is not [var outputs] || outputs != count) throw Refused($"got a model output of shape {Shapes.Text(output)}, wanted [{count}], because mixup and cutmix make a share of each class; end the model with 'dense: {count}'");
        return Compile(output, null, count);
    }

    private static LossSpec Plain(NamedChoice choice, LossSpec spec)
    {
        choice.RefuseOptions();
        return spec;
    }

    private protected static ConfigNode Options(NamedChoice choice) => choice.Options.Kind == ConfigKind.Map
        ? choice.Options
        : throw choice.Options.Error($"'{choice.Name}' takes named options, got {choice.Options.Describe()}");

    private protected DistTrainException Refused(string why) => new(ExitCode.BadUsage, $"loss: {Kind}: {why}");

    /// <summary>The targets of a model's output: [outputs], or [time, outputs] for sequences.</summary>
    /// <param name="output">The shape of one example's output.</param>
    /// <param name="classes">How many classes the labels have; null for real targets.</param>
    /// <param name="targetWidth">Values of one example's real target.</param>
    /// <param name="oneOutput">What labels of two classes become where there is one output; null where that is refused.</param>
    private protected TargetShape ShapeOf(ImmutableArray<int> output, int? classes, int targetWidth, TargetForm? oneOutput = null)
    {
        int time = output is [int t, _] ? t : 1;
        if (classes is { } count)
        {
            if (oneOutput is { } form && count == 2 && output is [1] or [_, 1]) return new TargetShape(time, 1, form);
            RequireOutput(output, output is [_, _] ? [time, count] : [count], $"the data has {count} classes");
            return new TargetShape(time, count, TargetForm.OneHot);
        }

        bool sequence = output is [_, _] && targetWidth % time == 0;
        RequireOutput(output, sequence ? [time, targetWidth / time] : [targetWidth], $"the data has {targetWidth} target{(targetWidth == 1 ? "" : "s")} per example");
        return new TargetShape(sequence ? time : 1, sequence ? targetWidth / time : targetWidth, TargetForm.Given);
    }

    private protected void RequireOutput(ImmutableArray<int> output, ImmutableArray<int> wanted, string because)
    {
        if (output.SequenceEqual(wanted)) return;
        throw new DistTrainException(
            ExitCode.BadUsage,
            $"loss: {Kind}: got a model output of shape {Shapes.Text(output)}, wanted {Shapes.Text(wanted)} because {because}; end the model with 'dense: {wanted[^1]}'");
    }
}

/// <summary>The losses, for descriptions in C#.</summary>
public static class Losses
{
    /// <summary>Softmax and cross-entropy of class labels; its mean is over examples, or over the positions of sequences.</summary>
    public static LossSpec SoftmaxCrossEntropy { get; } = new SoftmaxCrossEntropySpec();

    /// <summary>The same with label smoothing, class weights or an ignored label. See <see cref="SoftmaxCrossEntropySpec"/>.</summary>
    public static LossSpec SoftmaxCrossEntropyWith(double labelSmoothing = 0, ImmutableArray<double> classWeights = default, int? ignoreIndex = null) =>
        new SoftmaxCrossEntropySpec(labelSmoothing, classWeights, ignoreIndex);

    /// <summary>The squared difference; its mean is over all outputs of all examples, as PyTorch's MSELoss.</summary>
    public static LossSpec SquaredError { get; } = new SquaredErrorSpec();

    /// <summary>Half of it, as textbooks have it: the gradient is the difference.</summary>
    public static LossSpec HalfSquaredError { get; } = new SquaredErrorSpec(Half: true);

    /// <summary>The absolute difference; its mean is over all outputs of all examples.</summary>
    public static LossSpec AbsoluteError { get; } = new AbsoluteErrorSpec();

    /// <summary>Half the squared difference up to <paramref name="delta"/>, a line beyond. See <see cref="HuberSpec"/>.</summary>
    public static LossSpec Huber(double delta = 1) => new HuberSpec(delta);

    /// <summary>Sigmoid and cross-entropy of each output by itself.</summary>
    public static LossSpec BinaryCrossEntropy { get; } = new BinaryCrossEntropySpec();

    /// <summary>How far softmax is from the target distribution; its mean is over examples, or over the positions of sequences.</summary>
    public static LossSpec KlDivergence { get; } = new KlDivergenceSpec();

    /// <summary>Outputs should be on the right side by <paramref name="margin"/>. See <see cref="HingeSpec"/>.</summary>
    public static LossSpec Hinge(double margin = 1) => new HingeSpec(margin);
}
