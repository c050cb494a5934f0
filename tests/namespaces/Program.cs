using System.Globalization;
using System.Reflection;
using DistTrain.Chaos;
using DistTrain.Namespaces;

// tests/namespaces [FILTER]: a coordinator, a server and three workers in five network namespaces. Each row of the table cuts some links, in one direction
// or both, for less or longer than failures take to be found, and heals them; a line for each, and a sum at the end. Needs root, ip and nft.
const string Job = "--set training.max_steps=120 --set training.epochs=40";
string[] servers = ["s"], workers = ["w1", "w2", "w3"];
string[] all = ["c", .. servers, .. workers];
int[] lengths = [500, 3500];
List<Cuts> table = [];
foreach (int ms in lengths)
{
    foreach ((string a, string b) in ((string, string)[])[("c", "s"), ("c", "w1"), ("s", "w1"), ("w1", "w2")])
    {
        table.Add(new($"{a} -/- {b}", [(a, b), (b, a)], ms));
        table.Add(new($"{a} -/> {b}", [(a, b)], ms));
        table.Add(new($"{b} -/> {a}", [(b, a)], ms));
    }

    foreach (string alone in all[..3])
    {
        string[] others = [.. all.Where(o => o != alone)];
        table.Add(new($"{alone} alone", [.. others.SelectMany(o => ((string, string)[])[(alone, o), (o, alone)])], ms));
        table.Add(new($"{alone} is not heard", [.. others.Select(o => (alone, o))], ms));
        table.Add(new($"{alone} hears nobody", [.. others.Select(o => (o, alone))], ms));
    }

    table.Add(new("c and w1 | s, w2 and w3", [.. Between(["c", "w1"], ["s", "w2", "w3"])], ms));
    table.Add(new("c and s | w1, w2 and w3", [.. Between(["c", "s"], workers)], ms));
    table.Add(new("c, s and w1 | w2 and w3", [.. Between(["c", "s", "w1"], ["w2", "w3"])], ms));
}

string cli = typeof(CutRun).Assembly.GetCustomAttributes<AssemblyMetadataAttribute>().First(a => a.Key == "Cli").Value!;
string folder = Directory.CreateTempSubdirectory("disttrain-namespaces-").FullName;
using var network = new Network(all);
var run = new CutRun(cli, folder, network);
CutResult undisturbed = await run.RunAsync(Job, servers, workers, new("nothing", [], 0));
Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"undisturbed: exit code {undisturbed.ExitCode}, {undisturbed.Sha}, {undisturbed.Seconds:0.0} s"));
int runs = 0, wrong = 0;
foreach (Cuts cuts in table.Where(c => args.Length == 0 || c.What.Contains(args[0], StringComparison.Ordinal)))
{
    CutResult result = await run.RunAsync(Job, servers, workers, cuts);
    bool good = result.ExitCode == 0 && result.Sha == undisturbed.Sha && result.AuditFault is null;
    runs++;
    wrong += good ? 0 : 1;
    string losses = result.Losses.Count == 0 ? "nobody lost" : string.Join(", ", result.Losses) + " lost";
    Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{cuts.What,-24} {cuts.Milliseconds,5} ms: exit code {result.ExitCode}, {(result.Sha == undisturbed.Sha ? "same bits" : result.Sha ?? "no weights")}, {result.AuditFault ?? "each example once"}, {losses}, {result.Seconds:0.0} s"));
    if (!good) Console.WriteLine(result.Output);
}

Console.WriteLine($"{runs} runs, {wrong} that did not end with the same bits");
Directory.Delete(folder, recursive: true);
return wrong == 0 ? 0 : 1;

static IEnumerable<(string From, string To)> Between(string[] left, string[] right) =>
    left.SelectMany(l => right.SelectMany(r => ((string, string)[])[(l, r), (r, l)]));
