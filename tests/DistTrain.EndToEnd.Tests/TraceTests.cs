using System.Text.Json;

namespace DistTrain.EndToEnd.Tests;

/// <summary>A trace of real processes, on one clock.</summary>
public sealed class TraceTests : IDisposable
{
    private readonly Cli _cli = new();

    public void Dispose() => _cli.Dispose();

    [Theory]
    [InlineData("--channel auto")]
    [InlineData("--channel grpc")]
    public async Task Trace_OfProcesses_ShowsTheChainAndArrowsThatGoForward(string channel)
    {
        JsonElement result = await _cli.TrainAsync($"--workers 2 --servers 2 {channel} --set training.max_steps=60 --trace trace.json");
        List<JsonElement> events = [.. _cli.Json("trace.json").GetProperty("traceEvents").EnumerateArray()];
        string Phase(JsonElement e) => e.GetProperty("ph").GetString()!;
        Dictionary<int, string> rows = events.Where(e => Phase(e) == "M" && e.GetProperty("name").GetString() == "process_name")
            .ToDictionary(e => e.GetProperty("pid").GetInt32(), e => e.GetProperty("args").GetProperty("name").GetString()!);
        Assert.Equal(5, rows.Count);
        Assert.Equal(2, rows.Values.Count(r => r.StartsWith("worker ", StringComparison.Ordinal)));
        Assert.Equal(2, rows.Values.Count(r => r.StartsWith("server ", StringComparison.Ordinal)));
        List<(string Row, string Name)> seen = [.. events.Where(e => Phase(e) == "X").Select(e => (rows[e.GetProperty("pid").GetInt32()].Split(' ')[0], e.GetProperty("name").GetString()!)).Distinct()];
        foreach (string name in (string[])["forward", "backward", "gradient ready", "bucket ready", "pushed", "weights arrived"]) Assert.Contains(("worker", name), seen);
        foreach (string name in (string[])["segment received", "reduced", "applied", "published"]) Assert.Contains(("server", name), seen);
        Assert.Contains(("coordinator", "committed"), seen);
        ILookup<long, JsonElement> ends = events.Where(e => Phase(e) == "f").ToLookup(e => e.GetProperty("id").GetInt64());
        List<JsonElement> begins = [.. events.Where(e => Phase(e) == "s")];
        Assert.True(begins.Count > 100, $"{begins.Count} arrows");
        foreach (JsonElement begin in begins)
        {
            JsonElement end = Assert.Single(ends[begin.GetProperty("id").GetInt64()]);
            Assert.NotEqual(begin.GetProperty("pid").GetInt32(), end.GetProperty("pid").GetInt32());
            Assert.True(end.GetProperty("ts").GetDouble() >= begin.GetProperty("ts").GetDouble(), $"{begin} → {end}");
        }

        JsonElement split = result.GetProperty("step_split");
        Assert.True(split.GetProperty("compute_ms").GetDouble() > 0);
        Assert.Equal(4, split.GetProperty("managed_bytes_per_step").EnumerateObject().Count());
    }

    [Fact]
    public async Task Trace_InADirectoryThatIsNotThere_IsRefusedAtOnce()
    {
        CliResult result = await _cli.RunAsync("train --trace none/trace.json");
        Assert.Equal(2, result.ExitCode);
        Assert.Contains("--trace none/trace.json", result.Error, StringComparison.Ordinal);
    }
}
