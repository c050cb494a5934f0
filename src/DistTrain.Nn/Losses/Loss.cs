using DistTrain.Kernels;

namespace DistTrain.Nn;

/// <summary>What a loss reads and writes, row by row. All rows are independent of each other.</summary>
internal readonly unsafe struct LossRows
{
    /// <summary>How many rows.</summary>
    public int Rows { get; init; }

    /// <summary>(rows, outputs): the model's output.</summary>
    public float* Output { get; init; }

    /// <summary>(rows): class labels, for classification.</summary>
    public int* Labels { get; init; }

    /// <summary>(rows, outputs): targets, for regression.</summary>
    public float* Targets { get; init; }

    /// <summary>(rows): receives each row's loss, summed over what it counts.</summary>
    public float* Losses { get; init; }

    /// <summary>(rows): receives 1 where the first of the largest outputs is the label, else 0.</summary>
    public byte* Correct { get; init; }

    /// <summary>(rows, outputs): receives the gradient of the row losses' sum; null when it isn't wanted.</summary>
    public float* Gradient { get; init; }

    /// <summary>The threads to use.</summary>
    public required KernelPool Pool { get; init; }
}

/// <summary>A loss with its sizes known.</summary>
/// <param name="weightPerRow">What one example adds to the divisor of the mean.</param>
internal abstract class Loss(int weightPerRow)
{
    /// <summary>What one example adds to the divisor of the mean.</summary>
    public int WeightPerRow { get; } = weightPerRow;

    /// <summary>Computes losses, hits and, where wanted, gradients.</summary>
    public abstract void Run(in LossRows rows);
}
