using System.CommandLine;
using System.Globalization;
using DistTrain.Cli.Options;
using DistTrain.Cli.Progress;
using DistTrain.Jobs;

namespace DistTrain.Cli.Commands;

/// <summary><c>inspect JOB</c> or <c>inspect CHECKPOINT</c>.</summary>
internal static class InspectCommand
{
    public static Command Create(CliContext context)
    {
        var command = new Command("inspect", "Shows what a job comes to (layers, shapes, sizes), or what a checkpoint holds, verified.");
        var path = new Argument<string?>("JOB|CHECKPOINT") { Description = "A job file, a checkpoint's directory or a run's; without one, the embedded digits job.", Arity = ArgumentArity.ZeroOrOne };
        Option<string[]> set = JobOptions.SetOption();
        Option<string?> json = CommandTree.JsonOption();
        command.Add(path);
        command.Add(set);
        command.Add(json);
        command.SetAction((parsed, _) =>
        {
            string? jsonFile = parsed.GetValue(json);
            JsonFile.CheckPlace(jsonFile);
            string? what = parsed.GetValue(path);
            if (CheckpointDirectory(what) is { } directory)
            {
                InspectedCheckpoint found = Inspection.OfCheckpoint(directory, text => context.Error.WriteLine($"disttrain: {text}"));
                Show(context.Out, found);
                JsonFile.Write(jsonFile, found);
            }
            else
            {
                InspectedJob job = Inspection.Of(JobReader.Load(what, parsed.GetValue(set)));
                Show(context.Out, job);
                JsonFile.Write(jsonFile, job);
            }

            return Task.FromResult(0);
        });
        return command;
    }

    // A checkpoint may be named by one of its files.
    private static string? CheckpointDirectory(string? path) => path switch
    {
        null => null,
        _ when Directory.Exists(path) => path,
        _ when Path.GetFileName(path) == "manifest.json" || path.EndsWith(".safetensors", StringComparison.Ordinal) => Path.GetDirectoryName(Path.GetFullPath(path)),
        _ => null,
    };

    private static void Show(TextWriter output, InspectedJob job)
    {
        output.WriteLine($"job {job.Name}");
        output.WriteLine(job.Data);
        output.WriteLine();
        List<string[]> rows = [["layer", "kind", "input", "output", "parameters", "FLOPs"]];
        rows.AddRange(job.Layers.Select(l => (string[])[l.Name, l.Kind, Shape(l.Input), Shape(l.Output), Figures.Count(l.Parameters), Figures.Count(l.Flops)]));
        rows.Add(["", "", "", "", Figures.Count(job.Parameters), Figures.Count(job.Flops)]);
        Columns(output, rows, numbersFrom: 4);
        output.WriteLine();
        output.WriteLine("FLOPs: of one example's forward pass; a training step takes about three times as many.");
        output.WriteLine($"steps: {Figures.Count(job.StepsPerEpoch)} an epoch, {Figures.Count(job.TotalSteps)} in all");
        output.WriteLine($"memory: {Bytes(job.ServerBytes)} of weights and optimizer state on the servers, {Bytes(job.WorkerBytes)} of buffers in each worker, and the data");
        output.WriteLine($"a step: {job.Memory}");
        output.WriteLine($"job hash {job.JobHash}");
        output.WriteLine($"data hash {job.DataHash}");
        output.WriteLine();
        output.WriteLine("With every default written out:");
        foreach (string line in job.Job.TrimEnd().Split('\n')) output.WriteLine("  " + line);
    }

    private static void Show(TextWriter output, InspectedCheckpoint found)
    {
        output.WriteLine($"{found.Checkpoint}: {found.Name}, saved {found.Created.ToString("u", CultureInfo.InvariantCulture)}, whole and verified");
        output.WriteLine($"step {Figures.Count(found.Steps)}: {Figures.Plural(found.Epoch, "epoch")} and {Figures.Plural(found.EpochPosition, "example")}; seed {found.Seed}, numerics revision {found.NumericsRevision}");
        output.WriteLine($"optimizer {found.Optimizer}{(found.StateVectors.Count > 0 ? $" with {string.Join(", ", found.StateVectors)}" : "")}");
        foreach ((string name, double value) in found.Metrics) output.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{name} {value:G6}"));
        output.WriteLine();
        List<string[]> tensors = [["tensor", "shape", "elements"]];
        tensors.AddRange(found.Tensors.Select(t => (string[])[t.Name, Shape(t.Shape), Figures.Count(t.Shape.Aggregate(1L, (n, d) => n * d))]));
        tensors.Add(["", "", Figures.Count(found.Parameters)]);
        Columns(output, tensors, numbersFrom: 2);
        output.WriteLine();
        foreach (InspectedFile file in found.Files) output.WriteLine($"{file.Name}  {Bytes(file.Bytes)}  sha256 {file.Sha256}");
        output.WriteLine($"job hash {found.JobHash}");
        output.WriteLine($"data hash {found.DataHash}");
    }

    private static void Columns(TextWriter output, List<string[]> rows, int numbersFrom)
    {
        int[] widths = [.. Enumerable.Range(0, rows[0].Length).Select(c => rows.Max(r => r[c].Length))];
        foreach (string[] row in rows)
        {
            IEnumerable<string> cells = row.Select((cell, c) => c >= numbersFrom ? cell.PadLeft(widths[c]) : cell.PadRight(widths[c]));
            output.WriteLine(("  " + string.Join("  ", cells)).TrimEnd());
        }
    }

    private static string Shape(IEnumerable<int> shape) => $"[{string.Join(", ", shape)}]";

    private static string Bytes(long bytes) => bytes switch
    {
        < 10_000 => string.Create(CultureInfo.InvariantCulture, $"{bytes} B"),
        < 10_000_000 => string.Create(CultureInfo.InvariantCulture, $"{bytes / 1e3:0} kB"),
        < 10_000_000_000 => string.Create(CultureInfo.InvariantCulture, $"{bytes / 1e6:0} MB"),
        _ => string.Create(CultureInfo.InvariantCulture, $"{bytes / 1e9:0} GB"),
    };
}
