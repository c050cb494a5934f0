namespace DistTrain.Training.Coordinator;

/// <summary>Which servers own which partition, and which have the second copies.</summary>
internal static class Copies
{
    /// <summary>
    /// Partitions for so many servers, at most <paramref name="most"/>, and a second copy of as many of them as there are servers left for. A copy never
    /// shares a process with the first one, nor a machine where another will do.
    /// </summary>
    public static (List<Session> First, List<Session?> Second) Of(List<Session> servers, int most, int replicas)
    {
        // Copies matter more than partitions: with too few servers for both there are fewer partitions.
        int partitions = Math.Clamp(replicas == 0 ? servers.Count : Math.Max(servers.Count / 2, 1), 1, most);
        List<Session> first = Spread(servers, partitions);
        List<Session> left = [.. servers.Except(first)];
        List<Session?> second = [.. first.Select(_ => (Session?)null)];
        for (int p = 0; p < partitions && replicas > 0; p++)
        {
            second[p] = ReplicaFor(first[p], left);
            if (second[p] is { } taken) left.Remove(taken);
        }

        return (first, second);
    }

    /// <summary>The server that is best for a partition's second copy; null where none may have it.</summary>
    public static Session? ReplicaFor(Session first, IEnumerable<Session> free) =>
        free.Where(s => !s.SharesProcessWith(first)).OrderBy(s => s.Machine == first.Machine).ThenBy(s => s.Member!.Id.Value).FirstOrDefault();

    // Taken in turn from each machine, so that those left over are of several, too.
    private static List<Session> Spread(List<Session> servers, int count) =>
        [.. servers.GroupBy(s => s.Machine).SelectMany(g => g.Select((s, i) => (s, i))).OrderBy(x => x.i).ThenBy(x => x.s.Member!.Id.Value).Take(count).Select(x => x.s).OrderBy(s => s.Member!.Id.Value)];
}
