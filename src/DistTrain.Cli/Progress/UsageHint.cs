using System.CommandLine;
using DistTrain.Cli.Options;
using DistTrain.Core;
using DistTrain.Jobs;

namespace DistTrain.Cli.Progress;

/// <summary>Tells at the end where the model is and what to do next, in commands that can be copied.</summary>
/// <param name="Command">The command line that this run was asked for with, without <c>--resume</c>.</param>
internal sealed record UsageHint(string Command)
{
    public static UsageHint For(ParseResult parsed, JobOptions jobs, bool local)
    {
        List<string> words = ["disttrain", local ? "train" : "coordinator"];
        if (parsed.GetValue(jobs.Path) is { } job) words.Add(job);
        foreach (string change in jobs.Overrides(parsed)) words.AddRange(["--set", change]);
        return new(string.Join(' ', words.Select(Quoted)));
    }

    public IEnumerable<string> Lines(TrainResult result, Job job)
    {
        if (result.Checkpoint is { } checkpoint)
        {
            yield return $"The model is saved in {checkpoint}";
            if (result.ExitCode == (int)ExitCode.Done)
            {
                yield return $"  disttrain eval {Quoted(job.RunDirectory)}       measures it on the test examples";
                yield return $"  disttrain inspect {Quoted(job.RunDirectory)}    shows what is in it";
                yield break;
            }
        }

        if (result.ExitCode is (int)ExitCode.Interrupted or (int)ExitCode.ClusterLost && result.Checkpoint is not null) yield return $"To go on from there: {Command} --resume";
    }

    private static string Quoted(string word) =>
        word.All(c => char.IsAsciiLetterOrDigit(c) || "-_./=:,+@%~".Contains(c)) && word.Length > 0 ? word : $"'{word.Replace("'", "'\\''")}'";
}
