using System.Collections.Immutable;
using DistTrain.Kernels;

namespace DistTrain.Nn;

/// <summary>
/// loss = Σ (p_i − t_i)², the gradient 2·(p − t). The weight sum counts elements (rows × outputs), so the mean is
/// PyTorch's <c>MSELoss</c>. With class labels the target is 1 at the label and 0 elsewhere.
/// </summary>
public sealed record SquaredErrorSpec : LossSpec
{
    internal const string Name = "squared_error";

    /// <inheritdoc/>
    public override string Kind => Name;

    internal override Loss Compile(ImmutableArray<int> output, int? classes, int targetWidth)
    {
        if (classes is { } count) RequireOutput(output, count, $"the data has {count} classes");
        else RequireOutput(output, targetWidth, $"the data has {targetWidth} target{(targetWidth == 1 ? "" : "s")} per example");
        return new SquaredErrorLoss(classes ?? targetWidth, classes is not null);
    }
}

/// <summary>Squared error over a number of outputs.</summary>
internal sealed unsafe class SquaredErrorLoss(int width, bool fromLabels) : Loss(positions: 1, weightPerPosition: width)
{
    /// <inheritdoc/>
    public override void Run(in LossRows rows)
    {
        if (fromLabels) ReadLabels(rows);
        SquaredError.Run(rows.Output, rows.Targets, rows.Rows, WeightPerPosition, rows.Losses, rows.Gradient, rows.Pool);
    }

    private void ReadLabels(in LossRows rows)
    {
        int outputs = WeightPerPosition;
        Elementwise.Fill(rows.Targets, (nint)rows.Rows * outputs, 0);
        for (int row = 0; row < rows.Rows; row++)
        {
            int label = rows.Labels[row];
            if ((uint)label >= (uint)outputs) throw new ArgumentOutOfRangeException(nameof(rows), label, $"Row {row} has label {label}; there are {outputs} classes, counted from 0.");
            rows.Targets[((long)row * outputs) + label] = 1;
            rows.Correct[row] = IsFirstMax(rows.Output + ((long)row * outputs), label) ? (byte)1 : (byte)0;
        }
    }

    // The same rule as SoftmaxCrossEntropy: the first of the largest, and none where a NaN is.
    private bool IsFirstMax(float* x, int label)
    {
        for (int i = 0; i < WeightPerPosition; i++)
        {
            bool below = i < label ? x[i] < x[label] : x[i] <= x[label];
            if (!below) return false;
        }

        return true;
    }
}
