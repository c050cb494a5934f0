using System.Globalization;
using System.Text.Json.Serialization;
using DistTrain.Bench;
using DistTrain.Core;
using DistTrain.Kernels;

namespace DistTrain.Cli.Commands;

/// <summary>What <c>bench … --json</c> writes.</summary>
internal sealed record BenchReport(
    [property: JsonPropertyName("results")] IReadOnlyList<BenchRow> Results,
    [property: JsonPropertyName("simd")] string Simd,
    [property: JsonPropertyName("cores")] int Cores,
    [property: JsonPropertyName("numerics_revision")] int NumericsRevision,
    [property: JsonPropertyName("notes")] IReadOnlyList<string> Notes)
{
    /// <summary>Prints results as they come and writes them all in the end; gives the exit code.</summary>
    /// <param name="context">Where to print.</param>
    /// <param name="json">The file to write; null for none.</param>
    /// <param name="what">What stands above the names.</param>
    /// <param name="run">Measures; it is handed what hears of anything missing.</param>
    public static int Collect(CliContext context, string? json, string what, Func<Action<string>, IEnumerable<BenchResult>> run)
    {
        List<string> notes = [];
        var rows = new List<BenchRow>();
        context.Out.WriteLine($"{what,-46} {"value",10} {"unit",-11} {"peer",-18} {"peer's",10} {"ratio",7}   quartiles");
        int code = 0;
        try
        {
            foreach (BenchResult result in run(Note))
            {
                rows.Add(new(result.Name, result.Value, result.Unit, result.Peer, result.PeerValue, result.Ratio, result.RatioLow, result.RatioHigh));
                context.Out.WriteLine(Line(result));
            }
        }
        catch (OperationCanceledException)
        {
            Note("interrupted: what follows was not measured");
            code = (int)ExitCode.Interrupted;
        }

        JsonFile.Write(json, new BenchReport(rows, SimdPath.Current.ToString(), Environment.ProcessorCount, Kernels.NumericsRevision.Current, notes));
        return code;

        void Note(string text)
        {
            notes.Add(text);
            context.Error.WriteLine($"disttrain: {text}");
        }
    }

    private static string Line(BenchResult r) => string.Create(
        CultureInfo.InvariantCulture,
        $"{r.Name,-46} {r.Value,10:G4} {r.Unit,-11} {r.Peer ?? "",-18} {(r.PeerValue is { } v ? v.ToString("G4", CultureInfo.InvariantCulture) : r.Peer is null ? "" : "not here"),10} {(r.Ratio is { } q ? q.ToString("F3", CultureInfo.InvariantCulture) : ""),7}{(r.RatioLow is null ? "" : string.Create(CultureInfo.InvariantCulture, $"   {r.RatioLow:F3} to {r.RatioHigh:F3}"))}");
}

/// <summary>One of its results.</summary>
internal sealed record BenchRow(
    [property: JsonPropertyName("name")] string Name,
    [property: JsonPropertyName("value")] double Value,
    [property: JsonPropertyName("unit")] string Unit,
    [property: JsonPropertyName("peer")] string? Peer,
    [property: JsonPropertyName("peer_value")] double? PeerValue,
    [property: JsonPropertyName("ratio")] double? Ratio,
    [property: JsonPropertyName("ratio_low")] double? RatioLow,
    [property: JsonPropertyName("ratio_high")] double? RatioHigh);
