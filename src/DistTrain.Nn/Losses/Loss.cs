using DistTrain.Kernels;

namespace DistTrain.Nn;

/// <summary>What a loss reads and writes, row by row. All rows are independent of each other.</summary>
internal readonly unsafe struct LossRows
{
    /// <summary>How many rows.</summary>
    public int Rows { get; init; }

    /// <summary>(rows, outputs): the model's output.</summary>
    public float* Output { get; init; }

    /// <summary>(rows, positions): class labels, for classification.</summary>
    public int* Labels { get; init; }

    /// <summary>(rows, outputs): targets, for regression.</summary>
    public float* Targets { get; init; }

    /// <summary>(rows, positions): receives the loss of each position of each row, summed over what it counts.</summary>
    public float* Losses { get; init; }

    /// <summary>(rows, positions): receives what each position adds to the mean's divisor; see <see cref="Loss.WritesWeights"/>.</summary>
    public float* Weights { get; init; }

    /// <summary>(rows, positions): receives 1 where the first of the largest outputs is the label, else 0.</summary>
    public byte* Correct { get; init; }

    /// <summary>
    /// (rows): how many positions of each row count, the others being padding, whatever their labels; null for all.
    /// </summary>
    public int* Lengths { get; init; }

    /// <summary>(rows, outputs): receives the gradient of the row losses' sum; null when it isn't wanted.</summary>
    public float* Gradient { get; init; }

    /// <summary>The threads to use.</summary>
    public required KernelPool Pool { get; init; }
}

/// <summary>A loss with its sizes known.</summary>
/// <param name="positions">How many predictions a row has that count one by one: tokens, or 1.</param>
/// <param name="weightPerPosition">What one of them adds to the divisor of the mean, where that is always the same.</param>
internal abstract class Loss(int positions, int weightPerPosition)
{
    /// <summary>How many predictions a row has that count one by one.</summary>
    public int Positions { get; } = positions;

    /// <summary>What one position adds to the divisor of the mean.</summary>
    public int WeightPerPosition { get; } = weightPerPosition;

    /// <summary>Whether <see cref="Run"/> writes what each position adds to the divisor.</summary>
    public virtual bool WritesWeights => false;

    /// <summary>Whether a position with this label counts.</summary>
    public virtual bool Counts(int label) => true;

    /// <summary>Computes losses, hits and, where wanted, gradients.</summary>
    public abstract void Run(in LossRows rows);
}
