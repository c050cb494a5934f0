using System.Collections.Immutable;
using DistTrain.Core.Config;
using DistTrain.Kernels;

namespace DistTrain.Nn;

/// <summary>
/// The hinge. With class labels, Weston and Watkins (1999, 'Support vector machines for multi-class pattern recognition'):
/// loss = Σ max(0, Margin − x_label + x_i) over the other classes, the mean over examples times classes, as PyTorch's
/// <c>MultiMarginLoss</c>. With real targets, which are −1 or 1, or of two classes with a single output, which is above 0
/// for the second: loss = Σ max(0, Margin − t_i·x_i), the mean over elements.
/// </summary>
/// <param name="Margin">How far on the right side an output should be; above 0.</param>
public sealed record HingeSpec(double Margin = 1) : LossSpec
{
    internal const string Name = "hinge";

    private const double Smallest = 1e-6;

    /// <inheritdoc/>
    public override string Kind => Name;

    /// <inheritdoc/>
    public override bool TakesMixedLabels => false;

    internal static HingeSpec Read(NamedChoice choice)
    {
        var spec = new HingeSpec(choice.HasMainValue ? choice.Options.AsNumber(Smallest) : Options(choice).Number("margin", 1, Smallest));
        choice.RefuseUnknown();
        return spec;
    }

    internal override Loss Compile(ImmutableArray<int> output, int? classes, int targetWidth)
    {
        if (!(Margin >= Smallest)) throw Refused($"got a margin of {Margin}, wanted at least {Smallest}");
        TargetShape shape = ShapeOf(output, classes, targetWidth, TargetForm.Sign);
        return shape.Form == TargetForm.OneHot ? new MultiClassHingeLoss(shape, (float)Margin) : new HingeLoss(shape, (float)Margin);
    }
}

/// <summary>Hinge of targets -1 and 1, over a number of outputs.</summary>
internal sealed unsafe class HingeLoss(TargetShape shape, float margin) : TargetLoss(shape, shape.Width)
{
    protected override void Elements(in LossRows rows, nint count) =>
        ElementLosses.Hinge(rows.Output, rows.Targets, count, Width, margin, rows.Losses, rows.Gradient, rows.Pool);
}

/// <summary>Hinge of class labels, at each position.</summary>
internal sealed unsafe class MultiClassHingeLoss(TargetShape shape, float margin) : TargetLoss(shape with { Form = TargetForm.Given }, shape.Width)
{
    protected override void Elements(in LossRows rows, nint count)
    {
        for (int row = 0; rows.Lengths != null && row < rows.Rows; row++)
        {
            // A class, for the kernel; what it gives is left out afterwards.
            new Span<int>(rows.Labels + ((long)row * Positions) + rows.Lengths[row], Positions - rows.Lengths[row]).Clear();
        }

        MultiClassHinge.Run(rows.Output, rows.Labels, count, Width, margin, rows.Losses, rows.Gradient, rows.Correct, rows.Pool);
        for (int row = 0; rows.Lengths != null && row < rows.Rows; row++)
        {
            new Span<int>(rows.Labels + ((long)row * Positions) + rows.Lengths[row], Positions - rows.Lengths[row]).Fill(-1);
        }
    }
}
