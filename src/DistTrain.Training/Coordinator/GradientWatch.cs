using System.Collections.Immutable;
using System.Globalization;
using DistTrain.Core.Layout;
using DistTrain.Core.Messages;
using DistTrain.Kernels;

namespace DistTrain.Training.Coordinator;

/// <summary>What is known of the tensors whose gradients are looked at.</summary>
/// <param name="Layout">All tensors.</param>
/// <param name="Rectified">The biases whose units go through a ReLU at once, by place in the layout, and the ReLU layers' names.</param>
public sealed record WatchedModel(ParameterLayout Layout, ImmutableArray<(int Tensor, string Layer)> Rectified)
{
    /// <summary>Whether gradients and weights come scaled, so that they don't tell of examples: there is no noise scale then.</summary>
    public bool ScalesLoss { get; init; }
}

/// <summary>The gradient of one step, looked at.</summary>
/// <param name="Step">The step.</param>
/// <param name="Norm">The norm of the mean gradient of the whole model.</param>
/// <param name="Tensors">The norm of each tensor's, by name; without buffers.</param>
/// <param name="NoiseScale">
/// The simple noise scale, in examples: S. McCandlish et al. 2018, "An Empirical Model of Large-Batch Training", appendix A.
/// Batches well below it gain from being larger, batches well above it hardly. Null while it can't be told.
/// </param>
/// <param name="Warnings">What looks wrong, in words; each is said once.</param>
public sealed record WatchReport(long Step, double Norm, IReadOnlyList<(string Name, double Norm)> Tensors, double? NoiseScale, IReadOnlyList<string> Warnings);

/// <summary>
/// Joins what servers saw of a step's gradient, whatever their number, and says what looks wrong: units that nothing
/// reaches, gradients that vanish towards the input, or grow beyond what they were.
/// </summary>
internal sealed class GradientWatch(WatchedModel model, int partitions)
{
    private const double DeadShare = 0.5;
    private const double VanishingRatio = 1e-5;
    private const double ExplodingGrowth = 100;
    private const double Smoothing = 0.5;

    private readonly Watched?[] _reports = new Watched?[partitions];
    private readonly HashSet<string> _said = [];
    private readonly List<double> _norms = [];
    private double _signal;
    private double _noise;
    private int _estimates;

    /// <summary>Takes a server's report; gives what they come to when it is the last one of its step.</summary>
    public WatchReport? Take(Watched report)
    {
        foreach (Watched? other in _reports)
        {
            if (other is not null && other.Step < report.Step) Array.Clear(_reports);
        }

        _reports[report.Partition] = report;
        if (Array.Exists(_reports, r => r is null)) return null;
        Watched[] all = [.. _reports.OfType<Watched>()];
        Array.Clear(_reports);
        if (Tensors(all.SelectMany(r => r.Squares)) is not { } squares) return null;
        // A step that overflows is skipped.
        if (model.ScalesLoss && squares.Any(s => !double.IsFinite(s))) return null;
        double weight = report.LeftWeight + report.RightWeight;
        bool halves = !model.ScalesLoss && Array.TrueForAll(all, r => r.Left.Length == r.Squares.Length) && report.LeftWeight > 0 && report.RightWeight > 0;
        double norm = Math.Sqrt(squares.Sum()) / Math.Max(weight, 1);
        double? scale = halves ? Estimate(all, squares.Sum(), report.LeftWeight, report.RightWeight) : null;
        var named = new List<(string Name, double Norm)>();
        for (int t = 0; t < squares.Length; t++)
        {
            if (model.Layout.Tensors[t].Role != TensorRole.Buffer) named.Add((model.Layout.Tensors[t].Name, Math.Sqrt(squares[t]) / Math.Max(weight, 1)));
        }

        var warnings = new List<string>();
        Dead(report.Step, [.. all.SelectMany(r => r.Zeros)], warnings);
        Vanishing(report.Step, squares, warnings);
        Exploding(report.Step, norm, warnings);
        return new WatchReport(report.Step, norm, named, scale, warnings);
    }

    // |G|² and tr Σ from the mean gradients of the whole mini-batch and of its halves; both are smoothed before they are divided.
    private double? Estimate(Watched[] all, double whole, double leftWeight, double rightWeight)
    {
        double left = (Tensors(all.SelectMany(r => r.Left)) ?? []).Sum() / (leftWeight * leftWeight);
        double right = (Tensors(all.SelectMany(r => r.Right)) ?? []).Sum() / (rightWeight * rightWeight);
        double big = leftWeight + rightWeight, small = big / 2;
        double wholeMean = whole / (big * big), halfMean = (left + right) / 2;
        double signal = ((big * wholeMean) - (small * halfMean)) / (big - small);
        double noise = (halfMean - wholeMean) / ((1 / small) - (1 / big));
        double share = _estimates++ == 0 ? 1 : Smoothing;
        _signal += share * (signal - _signal);
        _noise += share * (noise - _noise);
        return _signal > 0 && _noise > 0 ? _noise / _signal : null;
    }

    private void Dead(long step, int[] zeros, List<string> warnings)
    {
        int[] first = new int[model.Layout.Tensors.Length + 1];
        for (int t = 0; t < model.Layout.Tensors.Length; t++) first[t + 1] = first[t] + (int)BlockNorms.Blocks((nint)model.Layout.Tensors[t].Length);
        if (first[^1] != zeros.Length) return;
        foreach ((int tensor, string layer) in model.Rectified)
        {
            long dead = 0, units = model.Layout.Tensors[tensor].Length;
            for (int b = first[tensor]; b < first[tensor + 1]; b++) dead += zeros[b];
            if (dead >= DeadShare * units && _said.Add($"dead {tensor}"))
                warnings.Add($"step {step}: {dead} of {units} units of layer {layer} (relu) give nothing for any example of the mini-batch: they are dead and learn no more; a lower learning rate, another initialisation or leaky_relu may help");
        }
    }

    private void Vanishing(long step, ImmutableArray<double> squares, List<string> warnings)
    {
        (string Name, double Rms)[] weights =
        [
            .. model.Layout.Tensors
                .Select((tensor, t) => (tensor, t))
                .Where(x => x.tensor.Role == TensorRole.Parameter && x.tensor.Shape.Length > 1)
                .Select(x => (x.tensor.Name, Math.Sqrt(squares[x.t] / x.tensor.Length))),
        ];
        if (weights.Length < 2) return;
        (string least, double small) = weights.MinBy(w => w.Rms);
        (string most, double large) = weights.MaxBy(w => w.Rms);
        if (small >= VanishingRatio * large || !_said.Add("vanishing")) return;
        warnings.Add(small == 0
            ? $"step {step}: no gradient reaches {least}: it learns nothing"
            : string.Create(CultureInfo.InvariantCulture, $"step {step}: gradients vanish: an element of {least} has {small / large:0.0e+0} of what one of {most} has; residuals, normalisation or another activation may help"));
    }

    private void Exploding(long step, double norm, List<string> warnings)
    {
        double usual = _norms.Count < 3 ? double.PositiveInfinity : _norms.Order().ElementAt(_norms.Count / 2);
        if (norm > ExplodingGrowth * usual && _said.Add("exploding"))
            warnings.Add(string.Create(CultureInfo.InvariantCulture, $"step {step}: the gradient's norm is {norm:0.00e+0}, and was {usual:0.00e+0}: gradients explode; training.clip_norm or a lower learning rate may help"));
        _norms.Add(norm);
        if (_norms.Count > 101) _norms.RemoveAt(0);
    }

    private ImmutableArray<double>? Tensors(IEnumerable<float> blocks) => TensorSquares.Of(model.Layout, [.. blocks]);
}
