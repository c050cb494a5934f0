using System.Text.Json;
using DistTrain.Core.Tracing;

namespace DistTrain.Composition;

/// <summary>
/// A trace in the Trace Event Format, which ui.perfetto.dev and chrome://tracing read: a row of processes for each member, with the
/// thread that computes and what its channels do; arrows lead from a segment's push to where it is reduced, and from a bucket's
/// publication to its arrival. Source: "Trace Event Format", the Chromium project.
/// </summary>
internal static class TraceFile
{
    private const int FlushAt = 1 << 20;
    private const int Computing = 1;
    private const int Channels = 2;

    // A moment needs some length for arrows to end at it.
    private const double MomentMicroseconds = 0.1;

    /// <summary>What a coordinator records in; null without a file.</summary>
    public static TraceRecorder? Recorder(string? path) => path is null ? null : new TraceRecorder(TraceRecorder.DefaultCapacity);

    /// <summary>Writes the file, in full or not at all; what went wrong, or null.</summary>
    public static string? TryWrite(string path, IReadOnlyList<TraceTrack> tracks)
    {
        string temporary = path + $".{Environment.ProcessId}.tmp";
        try
        {
            using (var file = new FileStream(temporary, FileMode.Create, FileAccess.Write))
            {
                Write(file, tracks);
            }

            File.Move(temporary, path, overwrite: true);
            return null;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return e.Message;
        }
    }

    /// <summary>Writes the trace.</summary>
    public static void Write(Stream stream, IReadOnlyList<TraceTrack> tracks)
    {
        var arrows = new TraceArrows(tracks);
        long origin = tracks.SelectMany(t => t.Events).Select(e => e.Start).DefaultIfEmpty().Min();
        using var json = new Utf8JsonWriter(stream);
        json.WriteStartObject();
        json.WriteString("displayTimeUnit", "ms");
        json.WriteStartArray("traceEvents");
        foreach (TraceTrack track in tracks)
        {
            Name(json, track);
            foreach (TraceEvent what in track.Events)
            {
                Write(json, what, Row(track), origin);
                foreach ((bool begins, long id) in arrows.Of(track, what)) Arrow(json, what, Row(track), origin, begins, id);
                if (json.BytesPending > FlushAt) json.Flush();
            }
        }

        json.WriteEndArray();
        json.WriteEndObject();
    }

    /// <summary>An event's name, as a person reads it.</summary>
    public static string Text(TraceName name) => name switch
    {
        TraceName.LocalSteps => "local steps",
        TraceName.GradientReady => "gradient ready",
        TraceName.BucketReady => "bucket ready",
        TraceName.WaitForWeights => "stall: waits for weights",
        TraceName.WaitForGrant => "stall: waits for the clock",
        TraceName.Arrived => "weights arrived",
        TraceName.Received => "segment received",
        TraceName.SegmentsWaiting => "segments waiting",
        TraceName.SegmentsHeld => "segments held",
        TraceName.StepsHeld => "steps held",
        TraceName.ManagedBytes => "managed bytes",
        _ => name.ToString().ToLowerInvariant(),
    };

    private static int Row(TraceTrack track) => track.Member?.Id.Value ?? 0;

    private static void Name(Utf8JsonWriter json, TraceTrack track)
    {
        string who = track.Member?.ToString() ?? "coordinator";
        if (track.ClockError > 0) who += $", clock ± {track.ClockError / 1000} µs";
        if (track.Lost > 0) who += $", {track.Lost} earlier events left out";
        Metadata(json, "process_name", Row(track), null, who);
        Metadata(json, "thread_name", Row(track), Computing, track.Member is null ? "decides" : "computes");
        if (track.Member is not null) Metadata(json, "thread_name", Row(track), Channels, "channels");
    }

    private static void Metadata(Utf8JsonWriter json, string name, int row, int? thread, string value)
    {
        json.WriteStartObject();
        json.WriteString("ph", "M");
        json.WriteString("name", name);
        json.WriteNumber("pid", row);
        if (thread is { } t) json.WriteNumber("tid", t);
        json.WriteStartObject("args");
        json.WriteString("name", value);
        json.WriteEndObject();
        json.WriteEndObject();
    }

    private static void Write(Utf8JsonWriter json, in TraceEvent what, int row, long origin)
    {
        json.WriteStartObject();
        json.WriteString("ph", what.IsCount ? "C" : "X");
        json.WriteString("name", Text(what.Name));
        json.WriteNumber("pid", row);
        json.WriteNumber("ts", Microseconds(what.Start - origin));
        if (!what.IsCount)
        {
            json.WriteNumber("tid", Thread(what));
            json.WriteNumber("dur", Math.Max(MomentMicroseconds, Microseconds(what.Duration)));
        }

        json.WriteStartObject("args");
        json.WriteNumber(what.IsCount ? "value" : what.Name is TraceName.Arrived or TraceName.Published or TraceName.Evaluate ? "version" : "step", what.Value);
        if (what.Bucket >= 0) json.WriteNumber("bucket", what.Bucket);
        if (what.Hi > 0) json.WriteString("shards", what.Shards.ToString());
        json.WriteEndObject();
        json.WriteEndObject();
    }

    private static void Arrow(Utf8JsonWriter json, in TraceEvent what, int row, long origin, bool begins, long id)
    {
        json.WriteStartObject();
        json.WriteString("ph", begins ? "s" : "f");
        if (!begins) json.WriteString("bp", "e");
        json.WriteString("cat", "bucket");
        json.WriteString("name", what.Name is TraceName.Published or TraceName.Arrived ? "weights" : "gradient");
        json.WriteNumber("id", id);
        json.WriteNumber("pid", row);
        json.WriteNumber("tid", Thread(what));
        json.WriteNumber("ts", Microseconds(what.Start - origin));
        json.WriteEndObject();
    }

    private static int Thread(in TraceEvent what) => what.OnChannel ? Channels : Computing;

    private static double Microseconds(long nanoseconds) => nanoseconds / 1000.0;
}
