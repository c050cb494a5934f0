using System.Collections.Immutable;
using DistTrain.Core.Config;
using DistTrain.Kernels;

namespace DistTrain.Nn;

/// <summary>
/// loss = Σ (p_i − t_i)², the gradient 2·(p − t). The weight sum counts elements (rows × outputs), so the mean is
/// PyTorch's <c>MSELoss</c>. With class labels the target is 1 at the label and 0 elsewhere.
/// </summary>
/// <param name="Half">Half of it, as textbooks have it, so that the gradient is p − t.</param>
public sealed record SquaredErrorSpec(bool Half = false) : LossSpec
{
    internal const string Name = "squared_error";

    /// <inheritdoc/>
    public override string Kind => Name;

    internal static SquaredErrorSpec Read(NamedChoice choice)
    {
        var spec = new SquaredErrorSpec(Options(choice).Flag("half", false));
        choice.RefuseUnknown();
        return spec;
    }

    internal override Loss Compile(ImmutableArray<int> output, int? classes, int targetWidth) =>
        new SquaredErrorLoss(ShapeOf(output, classes, targetWidth), Half);
}

/// <summary>Squared error over a number of outputs.</summary>
internal sealed unsafe class SquaredErrorLoss(TargetShape shape, bool half) : TargetLoss(shape, shape.Width)
{
    protected override void Elements(in LossRows rows, nint count)
    {
        if (half) ElementLosses.HalfSquared(rows.Output, rows.Targets, count, Width, rows.Losses, rows.Gradient, rows.Pool);
        else SquaredError.Run(rows.Output, rows.Targets, count, Width, rows.Losses, rows.Gradient, rows.Pool);
    }
}
