using DistTrain.Core;
using DistTrain.Core.Tracing;

namespace DistTrain.Tests.Tracing;

/// <summary>Traces made by hand; times in microseconds.</summary>
internal static class Traces
{
    public static TraceTrack Worker(int id, params TraceEvent[] events) => Track(id, MemberRole.Worker, events);

    public static TraceTrack Server(int id, params TraceEvent[] events) => Track(id, MemberRole.Server, events);

    public static TraceEvent Span(TraceName name, long start, long end, long step, int bucket = -1, int lo = 0, int hi = 0) =>
        new() { Name = name, Start = 1000 * start, Duration = 1000 * (end - start), Value = step, Bucket = bucket, Lo = lo, Hi = hi, OnChannel = name is TraceName.Arrived or TraceName.Received };

    private static TraceTrack Track(int id, MemberRole role, TraceEvent[] events)
    {
        var track = new TraceTrack(new Member(new MemberId(id), role, "lab", 40 + id, 1, "")) { IsComplete = true };
        track.Add([.. events]);
        return track;
    }
}
