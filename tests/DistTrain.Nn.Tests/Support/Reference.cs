using System.Collections.Immutable;

namespace DistTrain.Nn.Tests;

/// <summary>The same networks, written again in double precision and the plainest way: the oracle of gradients.</summary>
internal static class Reference
{
    /// <summary>The output of one example.</summary>
    public static double[] Forward(ModelSpec spec, Func<string, double[]> tensor, ReadOnlySpan<float> input)
    {
        var x = new double[input.Length];
        for (int i = 0; i < x.Length; i++) x[i] = input[i];
        for (int i = 0; i < spec.Layers.Length; i++)
        {
            x = spec.Layers[i] switch
            {
                DenseSpec dense => Dense(x, tensor($"{i}.weight"), dense.Bias ? tensor($"{i}.bias") : new double[dense.Out]),
                ReluSpec => [.. x.Select(v => v > 0 ? v : 0)],
                SigmoidSpec => [.. x.Select(v => 1 / (1 + Math.Exp(-v)))],
                TanhSpec => [.. x.Select(Math.Tanh)],
                _ => x,
            };
        }

        return x;
    }

    /// <summary>The loss of one example, summed over what it counts.</summary>
    public static double Loss(LossSpec loss, double[] output, int label, ReadOnlySpan<float> target, bool hasLabels)
    {
        if (loss is SoftmaxCrossEntropySpec) return Math.Log(output.Sum(v => Math.Exp(v - output[label])));
        double sum = 0;
        for (int i = 0; i < output.Length; i++)
        {
            double wanted = hasLabels ? (i == label ? 1 : 0) : target[i];
            sum += (output[i] - wanted) * (output[i] - wanted);
        }

        return sum;
    }

    private static double[] Dense(double[] x, double[] weight, double[] bias)
    {
        var y = new double[bias.Length];
        for (int o = 0; o < y.Length; o++)
        {
            y[o] = bias[o];
            for (int i = 0; i < x.Length; i++) y[o] += x[i] * weight[(o * x.Length) + i];
        }

        return y;
    }
}
