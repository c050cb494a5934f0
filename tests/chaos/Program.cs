using System.Globalization;
using System.Reflection;
using DistTrain.Chaos;

// tests/chaos [RUNS] [FIRST_SEED] [EVENTS] [JOB ARGUMENTS…]: as many runs, each with a seed of its own; a line for each, and a table at the end.
int runs = args.Length > 0 ? int.Parse(args[0], CultureInfo.InvariantCulture) : 10;
int first = args.Length > 1 ? int.Parse(args[1], CultureInfo.InvariantCulture) : 1;
int most = args.Length > 2 ? int.Parse(args[2], CultureInfo.InvariantCulture) : 60;
string job = args.Length > 3 ? string.Join(' ', args.Skip(3)) : "--set training.max_steps=200 --set training.epochs=40";
string[] clusters = ["--workers 3 --servers 2", "--workers 3 --servers 2 --replicas 1", "--workers 2:4 --servers 1 --replicas 1", "--workers 2 --servers 1 --channel grpc"];
string cli = typeof(ChaosRun).Assembly.GetCustomAttributes<AssemblyMetadataAttribute>().First(a => a.Key == "Cli").Value!;
string folder = Directory.CreateTempSubdirectory("disttrain-chaos-").FullName;
var chaos = new ChaosRun(cli, folder);
ChaosResult undisturbed = await chaos.RunAsync($"{job} --in-process --workers 1", null, 0);
Console.WriteLine($"undisturbed: {undisturbed.Sha}");
int hangs = 0, failed = 0, wrong = 0, unaudited = 0, events = 0;
var recovered = new List<double>();
for (int seed = first; seed < first + runs; seed++)
{
    string cluster = clusters[seed % clusters.Length];
    ChaosResult result = await chaos.RunAsync($"{job} {cluster} --set checkpoint.every=20", seed, most);
    hangs += result.ExitCode == -1 ? 1 : 0;
    failed += result.ExitCode is not 0 and not -1 ? 1 : 0;
    wrong += result.ExitCode == 0 && result.Sha != undisturbed.Sha ? 1 : 0;
    unaudited += result.ExitCode == 0 && result.AuditFault is not null ? 1 : 0;
    events += result.Events.Count;
    recovered.AddRange(result.RecoveredMs);
    Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"seed {seed} ({cluster}): exit code {result.ExitCode}, {result.Events.Count} events, {(result.Sha == undisturbed.Sha ? "same bits" : result.Sha ?? "no weights")}, {result.AuditFault ?? "each example once"}, losses recovered in {string.Join(" ", result.RecoveredMs.Select(ms => $"{ms:0}"))} ms"));
    if (result.ExitCode != 0 || result.Sha != undisturbed.Sha || result.AuditFault is not null) Console.WriteLine(string.Join('\n', result.Events) + "\n" + result.Output);
}

recovered.Sort();
Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{runs} runs, {events} events, {hangs} hangs, {failed} failed, {wrong} with wrong bits, {unaudited} with wrong examples; {recovered.Count} losses, median {(recovered.Count > 0 ? recovered[recovered.Count / 2] : 0):0} ms and worst {(recovered.Count > 0 ? recovered[^1] : 0):0} ms to the next completed step"));
Directory.Delete(folder, recursive: true);
return hangs + failed + wrong + unaudited == 0 ? 0 : 1;
