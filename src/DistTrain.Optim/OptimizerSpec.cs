using System.Collections.Immutable;
using DistTrain.Core.Config;

namespace DistTrain.Optim;

/// <summary>The description of an optimizer: immutable, from a job or from C#. <see cref="Create"/> makes its update rule.</summary>
public abstract record OptimizerSpec
{
    private static readonly Dictionary<string, Func<NamedChoice, OptimizerSpec>> Readers = new(StringComparer.Ordinal)
    {
        [SgdSpec.Kind] = SgdSpec.Read,
        [AdamSpec.Kind] = choice => AdamSpec.Read(choice, AdamSpec.Adam),
        [AdagradSpec.Kind] = AdagradSpec.Read,
        [LarsSpec.Kind] = LarsSpec.Read,
        [LambSpec.Kind] = LambSpec.Read,
        [LionSpec.Kind] = LionSpec.Read,
        [RmsPropSpec.Kind] = RmsPropSpec.Read,
        [AdamSpec.DecoupledKind] = choice => AdamSpec.Read(choice, AdamSpec.AdamW),
    };

    /// <summary>The optimizer's name in a job.</summary>
    public abstract string Name { get; }

    /// <summary>The rate before any schedule.</summary>
    public abstract double LearningRate { get; init; }

    /// <summary>
    /// The names of its state vectors, each as long as the weights and zero before the first step: how checkpoints call
    /// them.
    /// </summary>
    public abstract ImmutableArray<string> StateVectors { get; }

    /// <summary>Whether its rates depend on the norms of whole tensors.</summary>
    public virtual bool NeedsTrust => false;

    /// <summary>Whether weight decay applies to biases and to the scales and shifts of norms too, as PyTorch's does.</summary>
    public bool DecaysBiases { get; init; } = true;

    /// <summary>Tensors with a rate or decay of their own.</summary>
    public ParameterGroups Groups { get; init; } = ParameterGroups.None;

    /// <summary>
    /// Reads an optimizer: <c>sgd</c>, or <c>{ adam: { learning_rate: 1e-3 } }</c>.
    /// </summary>
    /// <exception cref="Core.DistTrainException">It is unknown (with the nearest spelling), or an option is wrong.</exception>
    public static OptimizerSpec FromConfig(ConfigNode node)
    {
        NamedChoice choice = NamedChoice.Read(node, "optimizer", Readers.Keys);
        if (choice.HasMainValue) throw choice.Options.Error($"'{choice.Name}' takes named options such as 'learning_rate', got {choice.Options.Describe()}");
        OptimizerSpec spec = Readers[choice.Name](choice);
        spec = spec with { DecaysBiases = choice.Options.Flag("decay_biases", true), Groups = ParameterGroups.Read(choice.Options) };
        choice.RefuseUnknown();
        return spec;
    }

    /// <summary>Makes the update rule.</summary>
    public abstract IOptimizer Create();
}
