using System.Globalization;
using DistTrain.Core.Config;

namespace DistTrain.Jobs;

/// <summary>How many workers: <c>4</c>, or <c>2:8</c> for two to eight.</summary>
internal static class WorkerCount
{
    private const int Most = 4096;

    public static (int Workers, int? Most) Read(ConfigNode node)
    {
        string text = node.AsText();
        if (!text.Contains(':', StringComparison.Ordinal)) return ((int)node.AsInteger(1, Most), null);
        string[] ends = text.Split(':');
        bool good = ends.Length == 2 & int.TryParse(ends[0], NumberStyles.None, CultureInfo.InvariantCulture, out int least) & int.TryParse(ends[^1], NumberStyles.None, CultureInfo.InvariantCulture, out int most);
        return good && least >= 1 && most >= least && most <= Most ? (least, most) : throw node.Error($"expected a number of workers, or FEWEST:MOST such as 2:8, got {node.Describe()}");
    }

    public static string Write(ClusterOptions cluster) => string.Create(CultureInfo.InvariantCulture, $"{cluster.Workers}{(cluster.MostWorkers is { } most ? $":{most}" : "")}");
}
