using System.Diagnostics;
using System.Globalization;
using System.Text.Json;

namespace DistTrain.Bench.Distributed;

/// <summary>What one run of a cluster came to.</summary>
/// <param name="StepMs">Mean milliseconds of a step in steady state.</param>
/// <param name="Split">Where they went; null without a trace.</param>
/// <param name="PushedBytes">Bytes of gradients a step, of all workers.</param>
/// <param name="BroadcastBytes">Bytes of weights, likewise.</param>
internal sealed record ClusterTimes(double StepMs, StepSplit? Split, double PushedBytes, double BroadcastBytes);

/// <summary>Runs of <c>disttrain train</c> as a user starts them, one after the other.</summary>
/// <param name="program">The program and the arguments that stand before a command.</param>
/// <param name="job">The job's file.</param>
/// <param name="batch">Examples a mini-batch.</param>
/// <param name="arguments">What follows <c>train JOB</c>.</param>
internal sealed class ClusterRun(IReadOnlyList<string> program, string job, int batch, IReadOnlyList<string> arguments)
{
    // Steps of the run that says how long a step takes.
    private const int FirstSteps = 40;

    private double _stepMs;

    /// <summary>One run of about so many seconds of steady state.</summary>
    /// <exception cref="InvalidOperationException">The run failed.</exception>
    public ClusterTimes Run(double seconds, CancellationToken cancellation, bool trace = false)
    {
        if (_stepMs == 0) _stepMs = Run(FirstSteps, trace: false, cancellation).StepMs;
        ClusterTimes times = Run((long)Math.Clamp(seconds * 1000 / _stepMs, FirstSteps, 1_000_000), trace, cancellation);
        _stepMs = times.StepMs;
        return times;
    }

    private ClusterTimes Run(long steps, bool trace, CancellationToken cancellation)
    {
        string json = job + ".json";
        var start = new ProcessStartInfo(program[0]) { RedirectStandardOutput = true, RedirectStandardError = true, UseShellExecute = false };
        foreach (string argument in (string[])[.. program.Skip(1), "train", job, .. arguments, "--set", string.Create(CultureInfo.InvariantCulture, $"training.max_steps={steps}"), "--json", json, .. trace ? (string[])["--trace", job + ".trace"] : []]) start.ArgumentList.Add(argument);
        using Process process = Process.Start(start)!;
        Task<string> said = process.StandardError.ReadToEndAsync(cancellation);
        Task output = process.StandardOutput.BaseStream.CopyToAsync(Stream.Null, cancellation);
        try
        {
            process.WaitForExitAsync(cancellation).GetAwaiter().GetResult();
        }
        catch (OperationCanceledException)
        {
            // The launcher ends its children when it is asked to end, and they end with it where it is killed.
            process.Kill();
            throw;
        }

        output.GetAwaiter().GetResult();
        if (process.ExitCode != 0) throw new InvalidOperationException($"train {Path.GetFileName(job)} {string.Join(' ', arguments)} ended with exit code {process.ExitCode}: {said.GetAwaiter().GetResult().Trim()}");
        using JsonDocument result = JsonDocument.Parse(File.ReadAllBytes(json));
        JsonElement root = result.RootElement;
        return new ClusterTimes(
            1000 * batch / root.GetProperty("samples_per_second").GetDouble(), StepParts.Read(root),
            root.GetProperty("pushed_bytes_per_step").GetDouble(), root.GetProperty("broadcast_bytes_per_step").GetDouble());
    }
}
