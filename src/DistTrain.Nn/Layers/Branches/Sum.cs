using System.Collections.Immutable;
using DistTrain.Core.Config;
using DistTrain.Kernels;

namespace DistTrain.Nn;

/// <summary>
/// The sum of branches that all read the same value and give the same shape, added from the first to the last; a branch
/// without layers is the value itself. Tensors are called 3.1.0.weight for layer 3, branch 1, its layer 0.
/// </summary>
/// <param name="Branches">The branches, each from its first layer to its last.</param>
public sealed record SumSpec(ImmutableArray<ImmutableArray<LayerSpec>> Branches) : LayerSpec
{
    internal const string Name = "sum";

    /// <inheritdoc/>
    public override string Kind => Name;

    /// <summary>Whether both have the same branches.</summary>
    public bool Equals(SumSpec? other) => other is not null && BranchReader.Same(Branches, other.Branches);

    /// <inheritdoc/>
    public override int GetHashCode() => Branches.Length;

    internal static SumSpec Read(NamedChoice choice) => new(BranchReader.Branches(choice));

    internal override void Emit(LayerBuilder builder)
    {
        ImmutableArray<(int Value, ImmutableArray<int> Shape)> branches = BranchReader.Emit(builder, Branches);
        ImmutableArray<int> shape = branches[0].Shape;
        if (branches.Any(b => !b.Shape.SequenceEqual(shape)))
            throw builder.Refuse($"branches of one shape (they give {string.Join(", ", branches.Select(b => Shapes.Text(b.Shape)))})", "change their last layers");
        builder.Network.Join(new SumLayer(shape, branches.Length), [.. branches.Select(b => b.Value)], builder.Name, Kind);
    }
}

/// <summary>A sum of several values, and the activation behind it.</summary>
internal sealed unsafe class SumLayer(ImmutableArray<int> shape, int count, Activation activation = Activation.Identity) : Layer(shape)
{
    /// <inheritdoc/>
    public override long Flops => (long)OutputWidth * (count - 1);

    /// <inheritdoc/>
    public override bool BackwardReadsOutput => activation != Activation.Identity;

    /// <inheritdoc/>
    public override Layer? Fuse(Layer next) =>
        next is ActivationLayer behind && activation == Activation.Identity ? new SumLayer(OutputShape, count, behind.Activation) : null;

    /// <inheritdoc/>
    public override void Forward(NodeBuffers node, StepContext step)
    {
        nint length = (nint)step.Rows * OutputWidth;
        if (count == 1) Elementwise.Copy(node.Input(), node.Output, length, step.Pool);
        for (int i = 1; i < count; i++)
        {
            Elementwise.Add(i == 1 ? node.Input() : node.Output, node.Input(i), node.Output, length, step.Pool);
        }

        if (activation != Activation.Identity) Elementwise.Activate(activation, node.Output, node.Output, length, step.Pool);
    }

    /// <inheritdoc/>
    public override void Backward(NodeBuffers node, StepContext step)
    {
        nint length = (nint)step.Rows * OutputWidth;
        for (int i = 0; i < count; i++)
        {
            if (node.InputGradient(i) == null) continue;
            Elementwise.ActivateBackward(activation, node.OutputGradient, node.Output, node.InputGradient(i), length, step.Pool);
        }
    }
}
