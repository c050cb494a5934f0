using System.Text.Json;
using DistTrain.Composition;
using DistTrain.Core.Tracing;
using static DistTrain.Tests.Tracing.Traces;

namespace DistTrain.Tests.Tracing;

public class TraceFileTests
{
    private static List<JsonElement> Write(params TraceTrack[] tracks)
    {
        using var stream = new MemoryStream();
        TraceFile.Write(stream, tracks);
        return [.. JsonDocument.Parse(stream.ToArray()).RootElement.GetProperty("traceEvents").EnumerateArray()];
    }

    private static string Phase(JsonElement what) => what.GetProperty("ph").GetString()!;

    [Fact]
    public void Arrows_HaveBothEnds()
    {
        TraceTrack worker = Worker(
            3, Span(TraceName.Pushed, 100, 120, 5, 0, 0, 4), Span(TraceName.Pushed, 130, 140, 5, 1, 0, 4), Span(TraceName.Arrived, 400, 400, 6, 0), Span(TraceName.Arrived, 500, 500, 6, 1));
        TraceTrack other = Worker(4, Span(TraceName.Arrived, 410, 410, 6, 0));
        TraceTrack server = Server(1, Span(TraceName.Reduced, 200, 210, 5, 0, 0, 4), Span(TraceName.Published, 300, 310, 6, 0));
        List<JsonElement> events = Write(worker, other, server);
        List<JsonElement> begins = [.. events.Where(e => Phase(e) == "s")], ends = [.. events.Where(e => Phase(e) == "f")];
        // The push of bucket 1 was reduced by nobody, and its weights were published before the trace begins.
        Assert.Equal(3, begins.Count);
        Assert.Equal(begins.Select(e => e.GetProperty("id").GetInt64()).Order(), ends.Select(e => e.GetProperty("id").GetInt64()).Order());
        foreach (JsonElement begin in begins)
        {
            JsonElement end = ends.Single(e => e.GetProperty("id").GetInt64() == begin.GetProperty("id").GetInt64());
            Assert.NotEqual(begin.GetProperty("pid").GetInt32(), end.GetProperty("pid").GetInt32());
            Assert.True(end.GetProperty("ts").GetDouble() > begin.GetProperty("ts").GetDouble());
            Assert.Equal(begin.GetProperty("name").GetString(), end.GetProperty("name").GetString());
        }
    }

    [Fact]
    public void Rows_SayWhoAndHowSure()
    {
        TraceTrack worker = Worker(3, Span(TraceName.Forward, 2, 5, 1));
        (worker.ClockError, worker.Lost) = (7_000, 12);
        List<JsonElement> events = Write(new TraceTrack(null), worker);
        List<string?> names = [.. events.Where(e => Phase(e) == "M" && e.GetProperty("name").GetString() == "process_name").Select(e => e.GetProperty("args").GetProperty("name").GetString())];
        Assert.Equal(["coordinator", "worker 3 (pid 43 on lab), clock ± 7 µs, 12 earlier events left out"], names);
    }

    [Fact]
    public void Events_BeginAtZeroAndHaveTheirArguments()
    {
        TraceEvent count = new() { Name = TraceName.SegmentsWaiting, Start = 12_500, Value = 9, Bucket = -1 };
        List<JsonElement> events = [.. Write(Server(1, Span(TraceName.Reduced, 10, 14, 5, 2, 4, 6), count)).Where(e => Phase(e) != "M")];
        Assert.Equal(("X", "reduced", 0.0, 4.0), (Phase(events[0]), events[0].GetProperty("name").GetString(), events[0].GetProperty("ts").GetDouble(), events[0].GetProperty("dur").GetDouble()));
        Assert.Equal("""{"step":5,"bucket":2,"shards":"[4,6)"}""", events[0].GetProperty("args").GetRawText());
        Assert.Equal(("C", "segments waiting", 2.5), (Phase(events[1]), events[1].GetProperty("name").GetString(), events[1].GetProperty("ts").GetDouble()));
        Assert.Equal(9, events[1].GetProperty("args").GetProperty("value").GetInt64());
    }

    [Fact]
    public void AllNames_AreDistinct()
    {
        List<string> names = [.. Enum.GetValues<TraceName>().Select(TraceFile.Text)];
        Assert.Equal(names.Count, names.Distinct(StringComparer.Ordinal).Count());
    }
}
