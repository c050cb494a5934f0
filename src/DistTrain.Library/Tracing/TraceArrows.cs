using DistTrain.Core;
using DistTrain.Core.Tracing;

namespace DistTrain.Composition;

/// <summary>Which events of a trace belong together: only arrows with both ends are drawn.</summary>
internal sealed class TraceArrows
{
    private readonly Dictionary<(long Step, int Bucket, int Lo, int Hi), long> _segments = [];
    private readonly Dictionary<(long Version, int Bucket), List<(MemberId Worker, long Id)>> _weights = [];
    private long _next = 1;

    /// <summary>Finds what segments were pushed and reduced, and what weights were published and arrived.</summary>
    public TraceArrows(IReadOnlyList<TraceTrack> tracks)
    {
        HashSet<(long, int, int, int)> pushed = [.. All(tracks).Where(e => e.What.Name == TraceName.Pushed).Select(e => Segment(e.What))];
        foreach ((_, TraceEvent what) in All(tracks).Where(e => Takes(e.What) && pushed.Contains(Segment(e.What)))) _segments.TryAdd(Segment(what), _next++);
        HashSet<(long, int)> published = [.. All(tracks).Where(e => e.What.Name == TraceName.Published).Select(e => (e.What.Value, e.What.Bucket))];
        foreach ((TraceTrack track, TraceEvent what) in All(tracks))
        {
            if (what.Name != TraceName.Arrived || !published.Contains((what.Value, what.Bucket))) continue;
            if (!_weights.TryGetValue((what.Value, what.Bucket), out List<(MemberId, long)>? arrivals)) _weights[(what.Value, what.Bucket)] = arrivals = [];
            arrivals.Add((track.Member!.Id, _next++));
        }
    }

    /// <summary>The arrows that begin or end at an event.</summary>
    public IEnumerable<(bool Begins, long Id)> Of(TraceTrack track, TraceEvent what)
    {
        if (what.Name == TraceName.Pushed || Takes(what))
        {
            if (_segments.TryGetValue(Segment(what), out long id)) yield return (what.Name == TraceName.Pushed, id);
        }
        else if (what.Name is TraceName.Published or TraceName.Arrived && _weights.TryGetValue((what.Value, what.Bucket), out List<(MemberId Worker, long Id)>? arrivals))
        {
            foreach ((MemberId worker, long id) in arrivals)
            {
                if (what.Name == TraceName.Published || worker == track.Member!.Id) yield return (what.Name == TraceName.Published, id);
            }
        }
    }

    // Where steps don't wait for each other a segment is applied by itself.
    private static bool Takes(in TraceEvent what) => what.Name == TraceName.Reduced || (what.Name == TraceName.Applied && what.Hi > 0);

    private static (long, int, int, int) Segment(in TraceEvent what) => (what.Value, what.Bucket, what.Lo, what.Hi);

    private static IEnumerable<(TraceTrack Track, TraceEvent What)> All(IReadOnlyList<TraceTrack> tracks) => tracks.SelectMany(t => t.Events.Select(e => (t, e)));
}
