namespace DistTrain.Data;

/// <summary>
/// Shifts and scales an array's examples to mean 0 and standard deviation 1 over the training part: (x − mean) / deviation in
/// double, rounded once to float. Images, [channels, height, width], are measured over all their values together, other examples
/// each feature by itself. Sums ascend as the array does; the deviation is the population's; what is constant is only shifted.
/// </summary>
internal sealed class NpyStandardizer
{
    // Elements that are read at once, on the stack.
    private const int Piece = 256;

    // One value, or one for each feature.
    private readonly double[] _mean;
    private readonly double[] _deviation;

    private NpyStandardizer(double[] mean, double[] deviation) => (_mean, _deviation) = (mean, deviation);

    /// <summary>What an element that is 0 becomes in an image.</summary>
    public float Black => _mean.Length == 1 ? (float)(-_mean[0] / _deviation[0]) : 0;

    /// <summary>Measures the rows of an array that are not held out.</summary>
    /// <param name="file">(rows, …).</param>
    /// <param name="together">All features count as one.</param>
    /// <param name="split">Which rows are held out; null for none.</param>
    public static NpyStandardizer Fit(NpyFile file, bool together, TrainTestSplit? split)
    {
        int features = (int)file.RowLength, count = together ? 1 : features;
        var row = new double[features];
        double[] mean = new double[count], deviation = new double[count], first = new double[count];
        var constant = new bool[count];
        Array.Fill(constant, true);
        long rows = 0;
        for (long r = 0; r < file.Shape[0]; r++)
        {
            if (split?.IsTest(r) == true) continue;
            file.Read(r * features, row);
            if (rows++ == 0) row.AsSpan(0, count).CopyTo(first);
            for (int i = 0; i < features; i++)
            {
                int c = together ? 0 : i;
                mean[c] += row[i];
                constant[c] &= row[i].Equals(first[c]);
            }
        }

        double values = together ? (double)rows * features : rows;
        for (int c = 0; c < count; c++) mean[c] = constant[c] ? first[c] : mean[c] / values;
        for (long r = 0; r < file.Shape[0]; r++)
        {
            if (split?.IsTest(r) == true) continue;
            file.Read(r * features, row);
            for (int i = 0; i < features; i++)
            {
                int c = together ? 0 : i;
                deviation[c] += (row[i] - mean[c]) * (row[i] - mean[c]);
            }
        }

        for (int c = 0; c < count; c++)
        {
            double std = Math.Sqrt(deviation[c] / values);
            deviation[c] = std > 0 && double.IsFinite(std) ? std : 1;
        }

        return new NpyStandardizer(mean, deviation);
    }

    /// <summary>Reads one example.</summary>
    public void Read(NpyFile file, long row, Span<float> to)
    {
        Span<double> piece = stackalloc double[Piece];
        bool together = _mean.Length == 1;
        for (int at = 0; at < to.Length; at += Piece)
        {
            Span<double> x = piece[..Math.Min(Piece, to.Length - at)];
            file.Read((row * to.Length) + at, x);
            for (int i = 0; i < x.Length; i++)
            {
                int c = together ? 0 : at + i;
                to[at + i] = (float)((x[i] - _mean[c]) / _deviation[c]);
            }
        }
    }
}
