using System.Diagnostics;
using System.Globalization;
using System.Net;
using System.Net.Sockets;
using System.Text.Json;

namespace DistTrain.Bench.Distributed;

/// <summary>PyTorch's DistributedDataParallel over gloo: as many processes as there are workers, one thread each.</summary>
/// <param name="python">The Python that has PyTorch.</param>
/// <param name="ranks">Processes.</param>
/// <param name="options">JSON: <c>setup</c> and <c>optimizer</c> as Python, <c>ddp</c> as keyword arguments, <c>to_none</c>.</param>
internal sealed class DdpRun(string python, int ranks, string options)
{
    private static readonly string Script = ReadScript();

    /// <summary>One run of about so many seconds of steady state; gives the mean milliseconds of a step.</summary>
    /// <exception cref="InvalidOperationException">Python or PyTorch refuses.</exception>
    public double Run(double seconds, CancellationToken cancellation)
    {
        string port = FreePort().ToString(CultureInfo.InvariantCulture);
        List<Process> processes = [.. Enumerable.Range(0, ranks).Select(rank => Start(rank, port, seconds))];
        try
        {
            string answer = processes[0].StandardOutput.ReadLineAsync(cancellation).AsTask().GetAwaiter().GetResult() ?? throw new InvalidOperationException("PyTorch: the first process said nothing");
            Task.WhenAll(processes.Select(p => p.WaitForExitAsync(cancellation))).GetAwaiter().GetResult();
            using JsonDocument said = JsonDocument.Parse(answer);
            if (said.RootElement.TryGetProperty("error", out JsonElement error)) throw new InvalidOperationException($"PyTorch: {error.GetString()}");
            return 1000 * said.RootElement.GetProperty("seconds").GetDouble() / said.RootElement.GetProperty("steps").GetDouble();
        }
        finally
        {
            foreach (Process process in processes)
            {
                if (!process.HasExited) process.Kill();
                process.Dispose();
            }
        }
    }

    private Process Start(int rank, string port, double seconds)
    {
        var start = new ProcessStartInfo(python)
        {
            ArgumentList = { "-c", Script, ranks.ToString(CultureInfo.InvariantCulture), rank.ToString(CultureInfo.InvariantCulture), port, seconds.ToString("R", CultureInfo.InvariantCulture), options },
            UseShellExecute = false,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        };
        start.Environment["OMP_NUM_THREADS"] = "1";
        start.Environment["MKL_NUM_THREADS"] = "1";
        start.Environment.TryAdd("OPENBLAS_CORETYPE", "SkylakeX");
        Process process = Process.Start(start)!;
        process.ErrorDataReceived += (_, _) => { };
        process.BeginErrorReadLine();
        return process;
    }

    private static int FreePort()
    {
        using var listener = new TcpListener(IPAddress.Loopback, 0);
        listener.Start();
        return ((IPEndPoint)listener.LocalEndpoint).Port;
    }

    private static string ReadScript()
    {
        using var reader = new StreamReader(typeof(DdpRun).Assembly.GetManifestResourceStream("DistTrain.Bench.ddp_peer.py")!);
        return reader.ReadToEnd();
    }
}
