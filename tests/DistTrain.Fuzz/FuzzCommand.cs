using System.Globalization;

namespace DistTrain.Fuzz;

/// <summary>
/// <c>[TARGET…] [--seed N] [--inputs N] [--seconds S] [--replay FILE] [--findings DIRECTORY]</c>: a line for each target; exit code 1, and
/// the inputs saved, when something was found. Inputs and seconds are for each target.
/// </summary>
internal static class FuzzCommand
{
    // Longer than any input takes on a busy machine.
    private static readonly TimeSpan Hang = TimeSpan.FromSeconds(30);

    public static int Run(string[] args, TextWriter output, TextWriter errors)
    {
        var names = new List<string>();
        (ulong seed, long inputs, double seconds, string? replay, string directory) = (1, long.MaxValue, 60, null, "findings");
        for (int i = 0; i < args.Length; i++)
        {
            string? value = i + 1 < args.Length ? args[i + 1] : null;
            bool known = (args[i], value) switch
            {
                ("--seed", not null) => ulong.TryParse(value, NumberStyles.None, CultureInfo.InvariantCulture, out seed),
                ("--inputs", not null) => long.TryParse(value, NumberStyles.None, CultureInfo.InvariantCulture, out inputs),
                ("--seconds", not null) => double.TryParse(value, NumberStyles.Float, CultureInfo.InvariantCulture, out seconds) && seconds is >= 0 and < 1e8,
                ("--replay", not null) => (replay = value).Length > 0,
                ("--findings", not null) => (directory = value).Length > 0,
                _ => false,
            };
            if (known) i++;
            else if (args[i].StartsWith('-')) return Usage(errors, $"'{args[i]}' with '{value}' is no option");
            else names.Add(args[i]);
        }

        // Who only counts inputs has as long as that takes.
        if (inputs != long.MaxValue && !args.Contains("--seconds", StringComparer.Ordinal)) seconds = 1e8;
        if (names.Find(n => !FuzzTargets.Names.Contains(n)) is { } unknown) return Usage(errors, $"there is no target '{unknown}'");
        if (replay is not null && names.Count == 0) names.AddRange(FuzzTargets.Names.Where(n => Path.GetFileName(replay).StartsWith(n + "-", StringComparison.Ordinal)));
        if (replay is not null && names.Count != 1) return Usage(errors, "--replay takes one target");
        output.WriteLine($"seed {seed}");
        output.WriteLine($"{"target",-14} {"inputs",12} {"inputs/s",10} {"accepted",12} {"refused",12} {"most bytes",14} {"slowest ms",11}");
        int found = 0;
        foreach (string name in names.Count > 0 ? names : FuzzTargets.Names)
        {
            using FuzzTarget target = FuzzTargets.Make(name);
            var run = new FuzzRun(target, seed);
            using var watch = new Timer(_ => EndWhenHung(run, seed, directory), null, TimeSpan.FromSeconds(1), TimeSpan.FromSeconds(1));
            if (replay is not null) run.One(long.MaxValue, File.ReadAllBytes(replay));
            else run.Run(inputs, TimeSpan.FromSeconds(seconds));
            output.WriteLine(string.Create(
                CultureInfo.InvariantCulture,
                $"{name,-14} {run.Inputs,12} {run.Inputs / Math.Max(run.Elapsed.TotalSeconds, 1e-3),10:0} {run.Accepted,12} {run.Refused,12} {run.MostBytes,14} {run.Slowest.TotalMilliseconds,11:0.0}"));
            foreach (Finding finding in run.Findings) errors.WriteLine($"{Save(finding, seed, directory)}: {finding.What}\n");
            found += run.Findings.Count;
        }

        return found == 0 ? 0 : 1;
    }

    private static int Usage(TextWriter errors, string what)
    {
        errors.WriteLine($"{what}; [TARGET…] [--seed N] [--inputs N] [--seconds S] [--replay FILE] [--findings DIRECTORY], with the targets {string.Join(", ", FuzzTargets.Names)}");
        return 2;
    }

    private static void EndWhenHung(FuzzRun run, ulong seed, string directory)
    {
        if (run.InHand is not { } hand || hand.For < Hang) return;
        string path = Save(new Finding(run.Target.Name, run.Inputs - 1, hand.Input, ""), seed, directory);
        Console.Error.WriteLine($"{path}: still being read after {hand.For.TotalSeconds:0} s");
        Environment.Exit(1);
    }

    private static string Save(Finding finding, ulong seed, string directory)
    {
        Directory.CreateDirectory(directory);
        string path = Path.Combine(directory, string.Create(CultureInfo.InvariantCulture, $"{finding.Target}-{seed}-{finding.Number}.bin"));
        File.WriteAllBytes(path, finding.Input);
        return path;
    }
}
