using System.Collections.Immutable;
using DistTrain.Core;

namespace DistTrain.Core.Tracing;

/// <summary>What one member recorded, on the coordinator's clock.</summary>
/// <param name="Member">Who; null for the coordinator.</param>
public sealed record TraceTrack(Member? Member)
{
    private readonly List<TraceEvent> _events = [];

    /// <summary>In the order in which they were recorded.</summary>
    public IReadOnlyList<TraceEvent> Events => _events;

    /// <summary>Earlier events that there was no room for.</summary>
    public long Lost { get; set; }

    /// <summary>What is added to the member's clock, in nanoseconds.</summary>
    public long ClockOffset { get; set; }

    /// <summary>How far the offset may be off, in nanoseconds: half the way to the member and back. 0 on the coordinator's machine, whose clock is the same.</summary>
    public long ClockError { get; set; }

    /// <summary>Whether all of it has come.</summary>
    public bool IsComplete { get; set; }

    /// <summary>Adds events, and takes their times to the coordinator's clock.</summary>
    public void Add(ImmutableArray<TraceEvent> events)
    {
        foreach (TraceEvent what in events)
        {
            if (what.Name != TraceName.None && _events.Count < TraceRecorder.MostCapacity) _events.Add(what with { Start = what.Start + ClockOffset });
        }
    }
}
