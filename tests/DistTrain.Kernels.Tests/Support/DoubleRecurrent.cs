using DistTrain.Kernels.Reference;

namespace DistTrain.Kernels.Tests;

/// <summary>
/// A recurrent layer in double, from the textbook's formulas, and the slopes of Σ y·dY + h·dState + c·dCell by central
/// differences.
/// </summary>
internal sealed class DoubleRecurrent(RecurrentKind kind, RecurrentRun run, int[] lengths)
{
    private readonly double[] _dY = Wide(run.DY);
    private readonly double[] _dState = Wide(run.DState);
    private readonly double[] _dCell = Wide(run.DCell);

    /// <summary>x, the four weights, the initial state and cell.</summary>
    public double[][] Slopes()
    {
        double[][] operands = [Wide(run.X), .. run.Weights.Select(Wide), Wide(run.InitialState), Wide(run.InitialCell)];
        if (kind != RecurrentKind.Lstm) operands = operands[..^1];
        double[][] slopes = [.. operands.Select(o => new double[o.Length])];
        for (int p = 0; p < operands.Length; p++)
        {
            for (int i = 0; i < operands[p].Length; i++)
            {
                double value = operands[p][i];
                operands[p][i] = value + 1e-5;
                double above = Loss(operands);
                operands[p][i] = value - 1e-5;
                slopes[p][i] = (above - Loss(operands)) / 2e-5;
                operands[p][i] = value;
            }
        }
        return slopes;
    }

    private static double[] Wide(float[] values) => [.. values.Select(v => (double)v)];

    private static double Sigmoid(double x) => 1 / (1 + Math.Exp(-x));

    private double Loss(double[][] o)
    {
        SequenceShape shape = run.Shape;
        int h = shape.Hidden, n = shape.Inputs;
        double loss = 0;
        for (int b = 0; b < shape.Batch; b++)
        {
            double[] state = o[5][(b * h)..((b + 1) * h)], cell = kind == RecurrentKind.Lstm ? o[6][(b * h)..((b + 1) * h)] : new double[h];
            foreach (int t in shape.Reverse ? Enumerable.Range(0, lengths[b]).Reverse() : Enumerable.Range(0, lengths[b]))
            {
                double Input(int unit) => o[3][unit] + Enumerable.Range(0, n).Sum(i => o[0][(((t * shape.Batch) + b) * n) + i] * o[1][(unit * n) + i]);
                double Hidden(int unit) => o[4][unit] + Enumerable.Range(0, h).Sum(i => state[i] * o[2][(unit * h) + i]);
                double[] next = new double[h], nextCell = [.. cell];
                for (int j = 0; j < h; j++)
                {
                    double Sum(int gate) => Input((gate * h) + j) + Hidden((gate * h) + j);
                    switch (kind)
                    {
                        case RecurrentKind.Lstm:
                            nextCell[j] = (Sigmoid(Sum(1)) * cell[j]) + (Sigmoid(Sum(0)) * Math.Tanh(Sum(2)));
                            next[j] = Sigmoid(Sum(3)) * Math.Tanh(nextCell[j]);
                            break;
                        case RecurrentKind.Gru:
                            double z = Sigmoid(Sum(1)), m = Math.Tanh(Input((2 * h) + j) + (Sigmoid(Sum(0)) * Hidden((2 * h) + j)));
                            next[j] = ((1 - z) * m) + (z * state[j]);
                            break;
                        default:
                            next[j] = kind == RecurrentKind.RnnRelu ? Math.Max(Sum(0), 0) : Math.Tanh(Sum(0));
                            break;
                    }
                    loss += next[j] * _dY[(((t * shape.Batch) + b) * h) + j];
                }
                (state, cell) = (next, nextCell);
            }
            for (int j = 0; j < h; j++) loss += (state[j] * _dState[(b * h) + j]) + (kind == RecurrentKind.Lstm ? cell[j] * _dCell[(b * h) + j] : 0);
        }
        return loss;
    }
}
