namespace DistTrain.Bench;

/// <summary>
/// Measures contenders in turn: short bursts of each, over and over, so that what the machine does meanwhile (clock,
/// neighbours, memory) falls on all alike. A ratio is taken within a round; what is reported is the median of rounds.
/// </summary>
internal sealed class Turns(double burstSeconds, double seconds)
{
    private const int LeastRounds = 5;

    /// <summary>The seconds a call took, [contender][round].</summary>
    /// <exception cref="OperationCanceledException">Asked to stop between two bursts.</exception>
    public double[][] Measure(IReadOnlyList<Contender> contenders, CancellationToken cancellation)
    {
        int[] calls = new int[contenders.Count];
        double round = 0;
        for (int i = 0; i < calls.Length; i++)
        {
            cancellation.ThrowIfCancellationRequested();
            contenders[i].Prepare();
            contenders[i].Burst(2);
            double once = contenders[i].Burst(1);
            if (once < burstSeconds / 4) once = contenders[i].Burst(4) / 4;
            calls[i] = (int)Math.Clamp(burstSeconds / Math.Max(once, 1e-9), 1, 1e7);
            round += calls[i] * once;
        }
        int rounds = (int)Math.Clamp(seconds / Math.Max(round, 1e-9), LeastRounds, 1000);
        double[][] times = [.. contenders.Select(_ => new double[rounds])];
        for (int r = 0; r < rounds; r++)
        {
            for (int i = 0; i < calls.Length; i++)
            {
                cancellation.ThrowIfCancellationRequested();
                times[i][r] = contenders[i].Burst(calls[i]) / calls[i];
            }
        }
        return times;
    }

    /// <summary>The value below which a share of the sorted values lies.</summary>
    public static double Quantile(IEnumerable<double> values, double share)
    {
        double[] sorted = [.. values.Order()];
        double at = share * (sorted.Length - 1);
        int below = (int)at;
        double next = sorted[Math.Min(below + 1, sorted.Length - 1)];
        return sorted[below] + ((at - below) * (next - sorted[below]));
    }
}
