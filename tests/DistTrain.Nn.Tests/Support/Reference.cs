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
        float[] given = target.ToArray();
        double[] t = [.. output.Select((_, i) => hasLabels ? (output.Length == 1 ? label : i == label ? 1 : 0) : (double)given[i])];
        double normaliser = output.Sum(Math.Exp);
        double[] p = [.. output.Select(x => Math.Exp(x) / normaliser)];
        return loss switch
        {
            SoftmaxCrossEntropySpec => Elements((_, i) => -t[i] * Math.Log(p[i])),
            KlDivergenceSpec => Elements((_, i) => t[i] == 0 ? 0 : t[i] * (Math.Log(t[i]) - Math.Log(p[i]))),
            AbsoluteErrorSpec => Elements((x, i) => Math.Abs(x - t[i])),
            HuberSpec huber => Elements((x, i) => Math.Abs(x - t[i]) <= huber.Delta ? 0.5 * Math.Pow(x - t[i], 2) : huber.Delta * (Math.Abs(x - t[i]) - (huber.Delta / 2))),
            BinaryCrossEntropySpec => Elements((x, i) => Math.Log(1 + Math.Exp(x)) - (t[i] * x)),
            HingeSpec hinge when hasLabels && output.Length > 1 => Elements((x, i) => i == label ? 0 : Math.Max(0, hinge.Margin - output[label] + x)),
            HingeSpec hinge => Elements((x, i) => Math.Max(0, hinge.Margin - ((hasLabels ? (2 * t[i]) - 1 : t[i]) * x))),
            SquaredErrorSpec squared => Elements((x, i) => Math.Pow(x - t[i], 2) * (squared.Half ? 0.5 : 1)),
            _ => throw new ArgumentOutOfRangeException(nameof(loss), loss, "The reference lacks this loss."),
        };

        double Elements(Func<double, int, double> term) => output.Select(term).Sum();
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
