using DistTrain.Kernels;

namespace DistTrain.Nn;

/// <summary>Where a loss's targets come from.</summary>
internal enum TargetForm
{
    /// <summary>The data has them.</summary>
    Given,

    /// <summary>Of class labels: 1 at the label, 0 elsewhere.</summary>
    OneHot,

    /// <summary>Of labels 0 and 1, for one output: the label.</summary>
    Binary,

    /// <summary>Of labels 0 and 1, for one output: -1 and 1.</summary>
    Sign,
}

/// <summary>What a loss that compares outputs with targets of the same shape reads.</summary>
/// <param name="Positions">How many predictions a row has that count one by one: time steps, or 1.</param>
/// <param name="Width">Outputs of each.</param>
/// <param name="Form">Where the targets come from.</param>
internal readonly record struct TargetShape(int Positions, int Width, TargetForm Form);

/// <summary>
/// A loss that compares outputs with targets of the same shape; labels are made into such first. Positions of padding,
/// where the embedding says which they are, have no loss, no gradient and no weight, whatever their targets.
/// </summary>
internal abstract unsafe class TargetLoss(TargetShape shape, int weightPerPosition) : Loss(shape.Positions, weightPerPosition)
{
    // What padding is labelled.
    private const int Padding = -1;

    /// <inheritdoc/>
    public override bool WritesWeights => Positions > 1;

    protected int Width => shape.Width;

    /// <inheritdoc/>
    public override bool Counts(int label) => label != Padding;

    /// <inheritdoc/>
    public override void Run(in LossRows rows)
    {
        nint count = (nint)rows.Rows * Positions;
        if (rows.Lengths != null) ClearPadding(rows);
        if (shape.Form != TargetForm.Given) ReadLabels(rows, count);
        Elements(rows, count);
        if (WritesWeights) Elementwise.Fill(rows.Weights, count, WeightPerPosition);
        if (rows.Lengths != null) LeavePaddingOut(rows);
    }

    /// <summary>Losses and gradients of <paramref name="count"/> predictions of <see cref="Width"/> outputs.</summary>
    protected abstract void Elements(in LossRows rows, nint count);

    // What padding holds may be no target at all.
    private void ClearPadding(in LossRows rows)
    {
        for (int row = 0; row < rows.Rows; row++)
        {
            long first = ((long)row * Positions) + rows.Lengths[row];
            int padding = Positions - rows.Lengths[row];
            if (shape.Form == TargetForm.Given) Elementwise.Fill(rows.Targets + (first * Width), (nint)padding * Width, 0);
            else new Span<int>(rows.Labels + first, padding).Fill(Padding);
        }
    }

    private void LeavePaddingOut(in LossRows rows)
    {
        for (int row = 0; row < rows.Rows; row++)
        {
            long first = ((long)row * Positions) + rows.Lengths[row];
            int padding = Positions - rows.Lengths[row];
            Elementwise.Fill(rows.Losses + first, padding, 0);
            Elementwise.Fill(rows.Weights + first, padding, 0);
            if (rows.Gradient != null) Elementwise.Fill(rows.Gradient + (first * Width), (nint)padding * Width, 0);
        }
    }

    private void ReadLabels(in LossRows rows, nint count)
    {
        int classes = shape.Form == TargetForm.OneHot ? Width : 2;
        Elementwise.Fill(rows.Targets, count * Width, 0);
        for (nint i = 0; i < count; i++)
        {
            int label = rows.Labels[i];
            float* output = rows.Output + (i * Width);
            rows.Correct[i] = 0;
            if (label == Padding && rows.Lengths != null) continue;
            if ((uint)label >= (uint)classes) throw new ArgumentOutOfRangeException(nameof(rows), label, $"Row {i / Positions} has label {label}; there are {classes} classes, counted from 0.");
            if (shape.Form == TargetForm.OneHot)
            {
                rows.Targets[(i * Width) + label] = 1;
                rows.Correct[i] = IsFirstMax(output, label) ? (byte)1 : (byte)0;
                continue;
            }

            rows.Targets[i] = shape.Form == TargetForm.Binary || label == 1 ? label : -1;
            rows.Correct[i] = (label == 1 ? *output > 0 : *output <= 0) ? (byte)1 : (byte)0;
        }
    }

    // The same rule as SoftmaxCrossEntropy: the first of the largest, and none where a NaN is.
    private bool IsFirstMax(float* x, int label)
    {
        for (int i = 0; i < Width; i++)
        {
            bool below = i < label ? x[i] < x[label] : x[i] <= x[label];
            if (!below) return false;
        }

        return true;
    }
}
