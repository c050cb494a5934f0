namespace DistTrain.Data;

/// <summary>
/// Shifts and scales each feature to mean 0 and standard deviation 1 over the training part: (x - mean) / std in double,
/// rounded once to float. Sums ascend over the training examples in the source's order; the deviation is the
/// population's; a constant feature is only shifted.
/// </summary>
internal sealed class Standardizer
{
    private readonly double[] _mean;
    private readonly double[] _deviation;

    private Standardizer(double[] mean, double[] deviation)
    {
        _mean = mean;
        _deviation = deviation;
    }

    /// <summary>Leaves values as they are.</summary>
    public static Standardizer None(int features)
    {
        var ones = new double[features];
        Array.Fill(ones, 1);
        return new Standardizer(new double[features], ones);
    }

    /// <summary>Measures <paramref name="values"/>, (rows, features), over the rows that are not held out.</summary>
    public static Standardizer Fit(ReadOnlySpan<double> values, int features, TrainTestSplit? split)
    {
        int rows = values.Length / features;
        var mean = new double[features];
        var deviation = new double[features];
        var first = new double[features];
        var constant = new bool[features];
        Array.Fill(constant, true);
        long n = 0;
        for (int row = 0; row < rows; row++)
        {
            if (split?.IsTest(row) == true) continue;
            ReadOnlySpan<double> x = values.Slice(row * features, features);
            if (n++ == 0) x.CopyTo(first);
            for (int c = 0; c < features; c++)
            {
                mean[c] += x[c];
                constant[c] &= x[c] == first[c];
            }
        }

        for (int c = 0; c < features; c++) mean[c] = constant[c] ? first[c] : mean[c] / n;
        for (int row = 0; row < rows; row++)
        {
            if (split?.IsTest(row) == true) continue;
            ReadOnlySpan<double> x = values.Slice(row * features, features);
            for (int c = 0; c < features; c++)
            {
                double d = x[c] - mean[c];
                deviation[c] += d * d;
            }
        }

        for (int c = 0; c < features; c++)
        {
            double std = Math.Sqrt(deviation[c] / n);
            deviation[c] = std > 0 && double.IsFinite(std) ? std : 1;
        }

        return new Standardizer(mean, deviation);
    }

    /// <summary>Applies to all rows.</summary>
    public float[] Apply(ReadOnlySpan<double> values, double scale)
    {
        int features = _mean.Length;
        var result = new float[values.Length];
        for (int i = 0; i < result.Length; i += features)
        {
            for (int c = 0; c < features; c++) result[i + c] = (float)((values[i + c] - _mean[c]) / _deviation[c] * scale);
        }

        return result;
    }
}
