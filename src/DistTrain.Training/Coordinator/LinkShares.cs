using System.Collections.Immutable;

namespace DistTrain.Training.Coordinator;

/// <summary>A machine as the shares see it.</summary>
/// <param name="Workers">Workers on it, which reach its servers without the link.</param>
/// <param name="Servers">Servers on it.</param>
/// <param name="BytesPerSecond">What its link carries in each direction; 0 where that wasn't measured.</param>
public readonly record struct MachineLoad(int Workers, int Servers, double BytesPerSecond);

/// <summary>
/// How the model is shared out over servers, so that the link that has most to carry is done soonest. Of n workers, w on a machine whose
/// servers have the share X together, (n - w)·X + w·(1 - X) of the model's bytes go in at its link, and as many out. With n machines of a worker
/// and a server each and k machines of a server alone that comes to 2(n-1)/(n²+kn-2k) for those and (n-k)/(n²+kn-2k) for the others.
/// Source: Jiang et al., "A Unified Architecture for Accelerating Distributed DNN Training in Heterogeneous GPU/CPU Clusters", OSDI 2020, 4.1.
/// </summary>
public static class LinkShares
{
    // Links that differ by less count as equal: a measurement is no better.
    private const double Tolerance = 1.25;
    private const int Parts = 1_000_000;

    /// <summary>The share of each machine's servers together; they add up to 1. Only machines with servers get one.</summary>
    public static ImmutableArray<double> Of(ImmutableArray<MachineLoad> machines)
    {
        double[] speeds = Speeds(machines);
        int workers = machines.Sum(m => m.Workers);
        double low = 0, high = machines.Select((m, i) => (workers + m.Workers) / speeds[i]).Max();
        for (int i = 0; i < 200 && high - low > 1e-12 * high; i++)
        {
            double middle = (low + high) / 2;
            if (Fits(machines, speeds, workers, middle)) high = middle;
            else low = middle;
        }

        // What each must take, and of the rest machines that compute least take what they may.
        (double Least, double Most)[] bounds = [.. machines.Select((m, i) => Bounds(m, speeds[i], workers, high))];
        double[] shares = [.. bounds.Select(b => b.Least)];
        foreach (int busy in machines.Select(m => m.Workers).Distinct().Order())
        {
            double left = 1 - shares.Sum(), room = bounds.Where((_, i) => machines[i].Workers == busy).Sum(b => b.Most - b.Least);
            for (int i = 0; i < shares.Length && room > 0; i++)
            {
                if (machines[i].Workers == busy) shares[i] += (bounds[i].Most - bounds[i].Least) * Math.Clamp(left / room, 0, 1);
            }
        }

        return [.. shares];
    }

    /// <summary>Parts for each server, in the order of <paramref name="machineOf"/>, its machine's index; equal ones where all are on one machine.</summary>
    public static ImmutableArray<int> Parted(ImmutableArray<MachineLoad> machines, ImmutableArray<int> machineOf)
    {
        if (machines.Length == 1) return [.. machineOf.Select(_ => 1)];
        ImmutableArray<double> shares = Of(machines);
        ImmutableArray<int> parts = [.. machineOf.Select(m => Math.Max(1, (int)Math.Round(Parts * shares[m] / machines[m].Servers)))];
        return parts.Max() - parts.Min() <= Parts / 10_000 ? [.. machineOf.Select(_ => 1)] : parts;
    }

    /// <summary>What goes in at each machine's link, in model sizes, for shares of its servers together.</summary>
    public static double Load(MachineLoad machine, int workers, double share) => ((workers - machine.Workers) * share) + (machine.Workers * (1 - share));

    private static double[] Speeds(ImmutableArray<MachineLoad> machines)
    {
        double[] known = [.. machines.Select(m => m.BytesPerSecond).Where(s => s > 0)];
        return known.Length < machines.Length || known.Max() <= Tolerance * known.Min() ? [.. machines.Select(_ => 1.0)] : [.. machines.Select(m => m.BytesPerSecond / known.Max())];
    }

    private static bool Fits(ImmutableArray<MachineLoad> machines, double[] speeds, int workers, double time)
    {
        double least = 0, most = 0;
        for (int i = 0; i < machines.Length; i++)
        {
            (double from, double to) = Bounds(machines[i], speeds[i], workers, time);
            if (from > to) return false;
            (least, most) = (least + from, most + to);
        }

        return least <= 1 && most >= 1;
    }

    // The shares with which a machine's link is done in time; from above to below where there are none.
    private static (double Least, double Most) Bounds(MachineLoad machine, double speed, int workers, double time)
    {
        double slack = (time * speed) - machine.Workers;
        int slope = workers - (2 * machine.Workers);
        if (machine.Servers == 0) return slack >= 0 ? (0, 0) : (1, 0);
        return slope switch
        {
            0 => slack >= 0 ? (0, 1) : (1, 0),
            > 0 => slack >= 0 ? (0, Math.Min(1, slack / slope)) : (1, 0),
            _ => (Math.Max(0, slack / slope), 1),
        };
    }
}
