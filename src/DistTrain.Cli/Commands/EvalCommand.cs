using System.CommandLine;
using System.Text.Json;
using DistTrain.Cli.Options;
using DistTrain.Cli.Progress;

namespace DistTrain.Cli.Commands;

/// <summary><c>eval CHECKPOINT</c>: measures a saved model.</summary>
internal static class EvalCommand
{
    public static Command Create(CliContext context)
    {
        var command = new Command("eval", "Measures a saved model on the test examples of its job, or on others.");
        var path = new Argument<string>("CHECKPOINT") { Description = "A checkpoint's directory, or a run's (such as runs/digits) for its newest one." };
        var data = new Option<string?>("--data") { HelpName = "FILE", Description = "Test examples of your own, in the form of the job's data; short for --set data.test_path=FILE." };
        Option<string[]> set = JobOptions.SetOption();
        Option<string?> json = CommandTree.JsonOption();
        command.Add(path);
        command.Add(data);
        command.Add(set);
        command.Add(json);
        command.SetAction((parsed, _) =>
        {
            string? jsonFile = parsed.GetValue(json);
            JsonFile.CheckPlace(jsonFile);
            List<string> overrides = [.. parsed.GetValue(set) ?? []];
            // A JSON text is a YAML text too, whatever the name holds.
            if (parsed.GetValue(data) is { } file) overrides.AddRange([$"data.test_path={JsonSerializer.Serialize(file, CliJson.Default.String)}", "data.test_fraction=null"]);
            EvaluationResult result = Evaluation.Run(parsed.GetValue(path)!, overrides, text => context.Error.WriteLine($"disttrain: {text}"));
            List<(string, string)> rows = [("checkpoint", $"{result.Checkpoint} (step {Figures.Count(result.Steps)})"), ("data", result.Data), ("examples", Figures.Count(result.Examples))];
            if (result.TestAccuracy is { } accuracy) rows.Add(("test accuracy", Figures.Accuracy(accuracy)));
            rows.Add(("test loss", Figures.Loss(result.TestLoss)));
            rows.Add(("weights sha256", result.WeightsSha256));
            using (var display = new PlainDisplay(context.Out, context.Error, context.Time)) display.Table($"{result.Name}: evaluated", rows);
            JsonFile.Write(jsonFile, result);
            return Task.FromResult(0);
        });
        return command;
    }
}
