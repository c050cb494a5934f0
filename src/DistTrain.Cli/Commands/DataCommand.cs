using System.CommandLine;
using System.Globalization;
using DistTrain.Core;
using DistTrain.Data;

namespace DistTrain.Cli.Commands;

/// <summary><c>data list</c> and <c>data fetch NAME</c>.</summary>
internal static class DataCommand
{
    public static Command Create(CliContext context) => new("data", "Lists public datasets, and fetches one from a mirror.")
    {
        List(context),
        Fetch(context),
    };

    private static Command List(CliContext context)
    {
        var command = new Command("list", "Lists the datasets that 'data fetch' knows, with the files that a mirror has to have.");
        Option<string?> json = CommandTree.JsonOption();
        command.Add(json);
        command.SetAction((parsed, _) =>
        {
            JsonFile.CheckPlace(parsed.GetValue(json));
            foreach (PublicDataset dataset in PublicDataset.All)
            {
                context.Out.WriteLine($"{dataset.Name}: {dataset.Summary}");
                foreach (PublicFile file in dataset.Files) context.Out.WriteLine($"  {file.Name}  {file.Bytes.ToString("N0", CultureInfo.InvariantCulture)} bytes  sha256 {file.Sha256}");
            }

            JsonFile.Write(parsed.GetValue(json), new Outcome(0, null));
            return Task.FromResult(0);
        });
        return command;
    }

    private static Command Fetch(CliContext context)
    {
        var command = new Command("fetch", "Fetches a public dataset from a mirror, goes on where an earlier try ended, and verifies every file.");
        var name = new Argument<string>("NAME") { Description = string.Join(", ", PublicDataset.All.Select(d => d.Name)) };
        var mirror = new Option<string>("--mirror") { HelpName = "URL", Description = "Where the files lie, by their names.", Required = true };
        var to = new Option<string?>("--to") { HelpName = "DIR", Description = "Where they go; ~/data/NAME if not given." };
        Option<string?> json = CommandTree.JsonOption();
        command.Add(name);
        command.Add(mirror);
        command.Add(to);
        command.Add(json);
        command.SetAction(async (parsed, cancellation) =>
        {
            JsonFile.CheckPlace(parsed.GetValue(json));
            string wanted = parsed.GetRequiredValue(name);
            PublicDataset dataset = PublicDataset.All.FirstOrDefault(d => d.Name == wanted)
                ?? throw new DistTrainException(ExitCode.BadUsage, $"data fetch: unknown dataset '{wanted}'{NearestName.Hint(wanted, [.. PublicDataset.All.Select(d => d.Name)])}");
            string directory = parsed.GetValue(to) ?? Path.Combine(Environment.GetFolderPath(Environment.SpecialFolder.UserProfile), "data", dataset.Name);
            using var client = new HttpClient { Timeout = Timeout.InfiniteTimeSpan };
            await new Fetcher(client, context.Out.WriteLine).FetchAsync(dataset, parsed.GetRequiredValue(mirror), directory, cancellation);
            context.Out.WriteLine($"ready: data: {{ name: {dataset.Name}, path: {directory} }}");
            JsonFile.Write(parsed.GetValue(json), new Outcome(0, null));
            return 0;
        });
        return command;
    }
}
