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
        [SquaredErrorSpec.Name] = choice => Plain(choice, new SquaredErrorSpec()),
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

    private static LossSpec Plain(NamedChoice choice, LossSpec spec)
    {
        choice.RefuseOptions();
        return spec;
    }

    private protected void RequireOutput(ImmutableArray<int> output, int wanted, string because) => RequireOutput(output, [wanted], because);

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
}
