using System.Diagnostics;
using System.Text;
using System.Text.Json;

namespace DistTrain.Chaos;

/// <summary>What a run under chaos came to.</summary>
/// <param name="ExitCode">The launcher's; -1 when it hung and was ended.</param>
/// <param name="Sha">The weights' hash; null for none.</param>
/// <param name="Events">What was done to whom, in order.</param>
/// <param name="RecoveredMs">From each loss to the next committed step.</param>
/// <param name="AuditFault">What is wrong with the examples that were used; null for nothing.</param>
/// <param name="Output">All that it said.</param>
internal sealed record ChaosResult(int ExitCode, string? Sha, IReadOnlyList<string> Events, IReadOnlyList<double> RecoveredMs, string? AuditFault, string Output);

/// <summary>
/// Trains with real processes while workers, servers and the coordinator are killed and stopped at random moments; the same seed does the same
/// to the same roles after the same pauses. The weights must not show it.
/// </summary>
internal sealed class ChaosRun(string cli, string folder)
{
    private static readonly string[] Roles = ["worker", "worker", "worker", "server", "server", "coordinator"];

    /// <summary>The longest that a run may take.</summary>
    public TimeSpan Limit { get; init; } = TimeSpan.FromMinutes(4);

    /// <summary>Each step takes that much longer, so that there is time for what happens.</summary>
    public int StepDelayMs { get; init; } = 60;

    /// <summary>Runs <c>train</c> with the arguments; nobody is touched for a seed of null.</summary>
    public async Task<ChaosResult> RunAsync(string arguments, int? seed, int mostEvents)
    {
        string json = Path.Combine(folder, $"chaos-{seed}.json"), audit = Path.Combine(folder, $"chaos-{seed}.audit");
        var start = new ProcessStartInfo("dotnet") { UseShellExecute = false, WorkingDirectory = folder, RedirectStandardOutput = true, RedirectStandardError = true };
        string all = $"train {arguments} --set cluster.restarts=100000 --set cluster.failure_timeout=1s --set checkpoint.path=runs/chaos-{seed} --json {json} --audit {audit}";
        start.ArgumentList.Add(cli);
        foreach (string argument in all.Split(' ', StringSplitOptions.RemoveEmptyEntries)) start.ArgumentList.Add(argument);
        start.Environment["DISTTRAIN_FAULTS"] = seed is null ? "" : $"step_delay={StepDelayMs}";
        using Process launcher = Process.Start(start)!;
        var begun = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        Task<string> output = ReadAsync(launcher.StandardOutput, begun), error = launcher.StandardError.ReadToEndAsync();
        var events = new List<string>();
        using var limit = new CancellationTokenSource(Limit);
        Task ended = launcher.WaitForExitAsync(limit.Token);
        // Every other run is disturbed from its first moment on, the others once steps are done.
        if (seed % 2 == 0) await Task.WhenAny(begun.Task, ended);
        if (seed is { } s) await DisturbAsync(launcher.Id, new Random(s), mostEvents, events, ended);
        int code;
        try
        {
            await ended;
            code = launcher.ExitCode;
        }
        catch (OperationCanceledException)
        {
            launcher.Kill(entireProcessTree: true);
            code = -1;
        }

        string said = await output + await error;
        if (!File.Exists(json)) return new(code, null, events, [], "no result", said);
        using JsonDocument result = JsonDocument.Parse(await File.ReadAllTextAsync(json));
        JsonElement failures = result.RootElement.GetProperty("failures");
        return new(
            code, result.RootElement.GetProperty("weights_sha256").GetString(), events,
            [.. failures.EnumerateArray().Select(f => f.GetProperty("recovered_ms")).Where(f => f.ValueKind == JsonValueKind.Number).Select(f => f.GetDouble())],
            AuditCheck.Fault(audit, result.RootElement.GetProperty("steps").GetInt64(), result.RootElement.GetProperty("train_examples").GetInt64()), said);
    }

    private static async Task<string> ReadAsync(StreamReader reader, TaskCompletionSource begun)
    {
        var said = new StringBuilder();
        while (await reader.ReadLineAsync() is { } line)
        {
            said.AppendLine(line);
            if (line.Contains("mini-batches of", StringComparison.Ordinal)) begun.TrySetResult();
        }

        return said.ToString();
    }

    // Pauses, roles and deeds come from the seed; which process of a role it is, too, as far as there are as many.
    private static async Task DisturbAsync(int launcher, Random random, int most, List<string> events, Task ended)
    {
        var waking = new List<Task>();
        while (events.Count < most && !ended.IsCompleted)
        {
            await Task.WhenAny(Task.Delay(random.Next(50, 600)), ended);
            (string role, int which, bool stops, int pause) = (Roles[random.Next(Roles.Length)], random.Next(100), random.Next(3) == 0, random.Next(100, 2500));
            List<int> pids = [.. Children(launcher).Where(pid => Role(pid) == role)];
            if (pids.Count == 0 || ended.IsCompleted) continue;
            int victim = pids[which % pids.Count];
            events.Add(stops ? $"stop {role} {victim} for {pause} ms" : $"kill {role} {victim}");
            Signal(victim, stops ? "STOP" : "KILL");
            if (stops) waking.Add(WakeAsync(victim, pause));
        }

        await Task.WhenAll(waking);
    }

    private static async Task WakeAsync(int pid, int after)
    {
        await Task.Delay(after);
        Signal(pid, "CONT");
    }

    private static IEnumerable<int> Children(int pid)
    {
        try
        {
            return [.. Directory.GetDirectories($"/proc/{pid}/task").SelectMany(t => File.ReadAllText($"{t}/children").Split(' ', StringSplitOptions.RemoveEmptyEntries)).Select(int.Parse)];
        }
        catch (IOException)
        {
            return [];
        }
    }

    private static string Role(int pid)
    {
        try
        {
            string[] words = File.ReadAllText($"/proc/{pid}/cmdline").Split('\0');
            return words.FirstOrDefault(w => w is "worker" or "server" or "coordinator") ?? "";
        }
        catch (IOException)
        {
            return "";
        }
    }

    private static void Signal(int pid, string signal)
    {
        using Process kill = Process.Start(new ProcessStartInfo("kill", [$"-{signal}", pid.ToString(System.Globalization.CultureInfo.InvariantCulture)]) { UseShellExecute = false, RedirectStandardError = true })!;
        kill.WaitForExit();
    }
}
