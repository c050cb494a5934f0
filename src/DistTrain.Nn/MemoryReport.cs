using System.Globalization;
using DistTrain.Core;

namespace DistTrain.Nn;

/// <summary>What a run's buffers take, and what was chosen to keep them small.</summary>
/// <param name="Bytes">Of values, gradients and what lies beside them.</param>
/// <param name="BytesWithout">What they would take if nothing ran again.</param>
/// <param name="Segments">Parts of the network that run forward again on the way back: the names of their first and last layers.</param>
/// <param name="RepeatedFlops">Operations of one example that are done twice.</param>
public sealed record MemoryReport(long Bytes, long BytesWithout, IReadOnlyList<(string First, string Last)> Segments, long RepeatedFlops)
{
    /// <summary>What a run of these sizes would choose, without making it.</summary>
    /// <inheritdoc cref="ModelRun(Model, int, Kernels.KernelPool, int?, long?)"/>
    public static MemoryReport Of(Model model, int maxRows, int maxLeaves, long? memory)
    {
        ArgumentNullException.ThrowIfNull(model);
        RunLayout layout = Layout(model, maxRows, maxLeaves, memory);
        long without = new RunLayout(new StepSchedule(model.Graph, []), maxRows, maxLeaves).Length;
        return new MemoryReport(
            layout.Length * sizeof(float),
            without * sizeof(float),
            [.. layout.Schedule.Segments.Select(s => (NameOf(model, s.First), NameOf(model, s.End - 1)))],
            layout.Schedule.RepeatedFlops());
    }

    /// <summary>In words: what is kept and what runs again.</summary>
    public override string ToString()
    {
        if (Segments.Count == 0) return $"{Megabytes(Bytes)} of values and gradients, nothing computed twice";
        string parts = string.Join(", ", Segments.Select(s => s.First == s.Last ? s.First : $"{s.First} to {s.Last}"));
        return $"{Megabytes(Bytes)} of values and gradients instead of {Megabytes(BytesWithout)}: forward runs again over {parts}";
    }

    internal static RunLayout Layout(Model model, int maxRows, int maxLeaves, long? memory)
    {
        if (memory is not { } bytes) return new RunLayout(new StepSchedule(model.Graph, []), maxRows, maxLeaves);
        if (MemoryPlanner.Choose(model.Graph, maxRows, maxLeaves, bytes / sizeof(float)) is { } layout) return layout;
        long least = MemoryPlanner.Smallest(model.Graph, maxRows, maxLeaves).Length * sizeof(float);
        throw new DistTrainException(
            ExitCode.BadUsage,
            $"training.memory: {Megabytes(bytes)} is too little for {maxRows} examples at once: with all that can be computed twice, values and gradients take {Megabytes(least)}");
    }

    private static string NameOf(Model model, int node) => model.Graph.Names[node];

    private static string Megabytes(long bytes) => string.Create(CultureInfo.InvariantCulture, $"{bytes / 1e6:0.##} MB");
}
