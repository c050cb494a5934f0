using System.Collections.Immutable;
using DistTrain.Core.Config;
using DistTrain.Kernels;

namespace DistTrain.Nn;

/// <summary>
/// loss = Σ |p_i − t_i|, the gradient the sign of p − t, 0 at 0. The weight sum counts elements, so the mean is PyTorch's
/// <c>L1Loss</c>. With class labels the target is 1 at the label and 0 elsewhere.
/// </summary>
public sealed record AbsoluteErrorSpec : LossSpec
{
    internal const string Name = "absolute_error";

    /// <inheritdoc/>
    public override string Kind => Name;

    internal override Loss Compile(ImmutableArray<int> output, int? classes, int targetWidth) =>
        new AbsoluteErrorLoss(ShapeOf(output, classes, targetWidth));
}

/// <summary>
/// Huber (1964, 'Robust estimation of a location parameter'): per element d²/2 where |d| = |p − t| is at most
/// <paramref name="Delta"/>, else Delta·(|d| − Delta/2); the gradient is d cut to ±Delta. The weight sum counts elements, so
/// the mean is PyTorch's <c>HuberLoss</c>. With class labels the target is 1 at the label and 0 elsewhere.
/// </summary>
/// <param name="Delta">Where the square becomes a line; above 0.</param>
public sealed record HuberSpec(double Delta = 1) : LossSpec
{
    internal const string Name = "huber";

    private const double Smallest = 1e-6;

    /// <inheritdoc/>
    public override string Kind => Name;

    internal static HuberSpec Read(NamedChoice choice)
    {
        var spec = new HuberSpec(choice.HasMainValue ? choice.Options.AsNumber(Smallest) : Options(choice).Number("delta", 1, Smallest));
        choice.RefuseUnknown();
        return spec;
    }

    internal override Loss Compile(ImmutableArray<int> output, int? classes, int targetWidth)
    {
        if (!(Delta >= Smallest)) throw Refused($"got a delta of {Delta}, wanted at least {Smallest}");
        return new HuberLoss(ShapeOf(output, classes, targetWidth), (float)Delta);
    }
}

/// <summary>Absolute error over a number of outputs.</summary>
internal sealed unsafe class AbsoluteErrorLoss(TargetShape shape) : TargetLoss(shape, shape.Width)
{
    protected override void Elements(in LossRows rows, nint count) =>
        ElementLosses.Absolute(rows.Output, rows.Targets, count, Width, rows.Losses, rows.Gradient, rows.Pool);
}

/// <summary>Huber's loss over a number of outputs.</summary>
internal sealed unsafe class HuberLoss(TargetShape shape, float delta) : TargetLoss(shape, shape.Width)
{
    protected override void Elements(in LossRows rows, nint count) =>
        ElementLosses.Huber(rows.Output, rows.Targets, count, Width, delta, rows.Losses, rows.Gradient, rows.Pool);
}
