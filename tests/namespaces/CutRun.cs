using System.Diagnostics;
using System.Text;
using System.Text.Json;
using DistTrain.Chaos;

namespace DistTrain.Namespaces;

/// <summary>Links that are cut while the job runs.</summary>
/// <param name="What">In words.</param>
/// <param name="Links">From whom to whom nothing arrives.</param>
/// <param name="Milliseconds">For how long.</param>
internal sealed record Cuts(string What, IReadOnlyList<(string From, string To)> Links, int Milliseconds);

/// <summary>What came of a run.</summary>
internal sealed record CutResult(int ExitCode, string? Sha, string? AuditFault, IReadOnlyList<string> Losses, double Seconds, string Output);

/// <summary>A job whose members are in namespaces of their own, over gRPC.</summary>
internal sealed class CutRun(string cli, string folder, Network network)
{
    private const int Port = 7300;
    private static readonly TimeSpan Limit = TimeSpan.FromMinutes(2);

    /// <summary>Trains; once steps are done the links are cut for a while.</summary>
    public async Task<CutResult> RunAsync(string job, string[] servers, string[] workers, Cuts cuts)
    {
        string json = Path.Combine(folder, "cut.json"), audit = Path.Combine(folder, "cut.audit"), address = $"{network.Address("c")}:{Port}";
        File.Delete(json);
        var said = new StringBuilder();
        var begun = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        var processes = new List<Process>();
        long began = Stopwatch.GetTimestamp();
        try
        {
            Process coordinator = Start("c", $"coordinator {job} --listen {address} --insecure --workers {workers.Length} --servers {servers.Length} --set cluster.channel=grpc --set cluster.failure_timeout=1s --set checkpoint.every=10 --set checkpoint.path=runs/cut --json {json} --audit {audit}", said, begun);
            processes.Add(coordinator);
            foreach (string server in servers) processes.Add(Start(server, $"server --join {address} --listen {network.Address(server)}:0 --insecure", said));
            foreach (string worker in workers) processes.Add(Start(worker, $"worker --join {address} --threads 1 --insecure", said));
            using var limit = new CancellationTokenSource(Limit);
            Task ended = coordinator.WaitForExitAsync(limit.Token);
            if (await Task.WhenAny(begun.Task, ended) == begun.Task)
            {
                foreach ((string from, string to) in cuts.Links) network.Cut(from, to);
                await Task.WhenAny(Task.Delay(cuts.Milliseconds), ended);
                network.Heal();
            }

            await ended.ContinueWith(_ => { }, TaskScheduler.Default);
            double seconds = Stopwatch.GetElapsedTime(began).TotalSeconds;
            string output;
            lock (said) output = said.ToString();
            if (!coordinator.HasExited || !File.Exists(json)) return new(coordinator.HasExited ? coordinator.ExitCode : -1, null, "no result", [], seconds, output);
            using JsonDocument result = JsonDocument.Parse(await File.ReadAllTextAsync(json, CancellationToken.None));
            JsonElement root = result.RootElement;
            return new(
                coordinator.ExitCode, root.GetProperty("weights_sha256").GetString(), AuditCheck.Fault(audit, root.GetProperty("steps").GetInt64(), root.GetProperty("train_examples").GetInt64()),
                [.. root.GetProperty("failures").EnumerateArray().Select(f => f.GetProperty("who").GetString()!)], seconds, output);
        }
        finally
        {
            network.Heal();
            foreach (Process process in processes)
            {
                if (!process.HasExited) process.Kill(entireProcessTree: true);
                process.WaitForExit();
                process.Dispose();
            }
        }
    }

    private Process Start(string name, string arguments, StringBuilder said, TaskCompletionSource? begun = null)
    {
        string[] all = [.. network.Within(name), "dotnet", cli, .. arguments.Split(' ', StringSplitOptions.RemoveEmptyEntries)];
        var start = new ProcessStartInfo(all[0], all.Skip(1)) { UseShellExecute = false, WorkingDirectory = folder, RedirectStandardOutput = true, RedirectStandardError = true };
        start.Environment["DISTTRAIN_FAULTS"] = "step_delay=40";
        Process process = Process.Start(start)!;
        void Hear(object sender, DataReceivedEventArgs line)
        {
            if (line.Data is null) return;
            lock (said) said.Append(name).Append(": ").AppendLine(line.Data);
            if (line.Data.StartsWith("after 1 epoch", StringComparison.Ordinal)) begun?.TrySetResult();
        }

        process.OutputDataReceived += Hear;
        process.ErrorDataReceived += Hear;
        process.BeginOutputReadLine();
        process.BeginErrorReadLine();
        return process;
    }
}
