namespace DistTrain.Core;

/// <summary>Finds the spelling a user probably meant.</summary>
public static class NearestName
{
    /// <summary>
    /// The candidate at the smallest edit distance (insertions, deletions, substitutions and swaps of neighbours) from
    /// <paramref name="name"/>, or null when none is near enough to be a likely slip.
    /// </summary>
    public static string? Of(string name, IEnumerable<string> candidates)
    {
        string? best = null;
        int bestDistance = Math.Max(2, name.Length / 3) + 1;
        foreach (string candidate in candidates)
        {
            // It takes at least the difference; the table of a long word's distance would take much memory.
            if (Math.Abs(name.Length - candidate.Length) >= bestDistance) continue;
            int distance = Distance(name.ToLowerInvariant(), candidate.ToLowerInvariant());
            if (distance < bestDistance) (best, bestDistance) = (candidate, distance);
        }

        return best;
    }

    /// <summary>" (did you mean 'x'?)" or, with nothing near, the list of what is allowed.</summary>
    public static string Hint(string name, IReadOnlyCollection<string> candidates) =>
        Of(name, candidates) is { } nearest
            ? $"; did you mean '{nearest}'?"
            : $"; allowed: {string.Join(", ", candidates)}";

    private static int Distance(string a, string b)
    {
        int[,] d = new int[a.Length + 1, b.Length + 1];
        for (int i = 0; i <= a.Length; i++) d[i, 0] = i;
        for (int j = 0; j <= b.Length; j++) d[0, j] = j;
        for (int i = 1; i <= a.Length; i++)
        {
            for (int j = 1; j <= b.Length; j++)
            {
                int change = a[i - 1] == b[j - 1] ? 0 : 1;
                int best = Math.Min(d[i - 1, j - 1] + change, Math.Min(d[i - 1, j], d[i, j - 1]) + 1);
                if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) best = Math.Min(best, d[i - 2, j - 2] + 1);
                d[i, j] = best;
            }
        }

        return d[a.Length, b.Length];
    }
}
