using System.Collections.Immutable;

namespace DistTrain.Nn;

/// <summary>From one moment to another, both included.</summary>
internal readonly record struct Life(int First, int Last);

/// <summary>A buffer to place in an arena: so many floats, and when it holds something.</summary>
/// <param name="Length">In floats.</param>
/// <param name="Lives">Ascending and apart; what it held is lost between them.</param>
internal readonly record struct ArenaRequest(long Length, ImmutableArray<Life> Lives)
{
    /// <summary>A buffer of one life.</summary>
    public ArenaRequest(long length, int first, int last)
        : this(length, [new Life(first, last)])
    {
    }

    public bool Meets(ArenaRequest other)
    {
        if (Lives.IsDefault || other.Lives.IsDefault) return false;
        for (int i = 0, j = 0; i < Lives.Length && j < other.Lives.Length;)
        {
            if (Lives[i].First <= other.Lives[j].Last && other.Lives[j].First <= Lives[i].Last) return true;
            if (Lives[i].Last < other.Lives[j].Last) i++;
            else j++;
        }

        return false;
    }
}

/// <summary>
/// Places buffers in one arena so that those in use at the same moment lie apart and others may share memory: the
/// largest first, each at the lowest place that is free for its whole life.
/// </summary>
internal sealed class ArenaPlan
{
    /// <summary>Buffers start at multiples of this many floats: a cache line.</summary>
    public const int Alignment = 16;

    public ArenaPlan(IReadOnlyList<ArenaRequest> requests)
    {
        Offsets = new long[requests.Count];
        var placed = new List<int>();
        foreach (int i in Enumerable.Range(0, requests.Count).OrderByDescending(i => requests[i].Length).ThenBy(i => i))
        {
            // Those alive with this one, by place; the first gap that is wide enough takes it.
            long at = 0;
            foreach (int other in placed.Where(p => requests[p].Meets(requests[i])).OrderBy(p => Offsets[p]))
            {
                if (at + requests[i].Length <= Offsets[other]) break;
                at = Math.Max(at, RoundUp(Offsets[other] + requests[other].Length));
            }

            Offsets[i] = at;
            Length = Math.Max(Length, RoundUp(at + requests[i].Length));
            placed.Add(i);
        }
    }

    /// <summary>Where each request lies, in floats.</summary>
    public long[] Offsets { get; }

    /// <summary>Floats of the whole arena.</summary>
    public long Length { get; }

    private static long RoundUp(long length) => (length + Alignment - 1) / Alignment * Alignment;
}
