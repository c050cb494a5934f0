using System.ComponentModel;
using System.Diagnostics;
using System.Globalization;
using System.Text.Json;
using DistTrain.Core;

namespace DistTrain.Bench.Peers;

/// <summary>A Python process with PyTorch, on the same core as ours: while one works, the other waits.</summary>
internal sealed class TorchProcess : IDisposable
{
    // To bring PyTorch into memory from a cold disk, and to answer one request.
    private static readonly TimeSpan StartLimit = TimeSpan.FromSeconds(60);
    private static readonly TimeSpan AnswerLimit = TimeSpan.FromSeconds(600);

    private readonly Process _process;
    private int _last;

    private TorchProcess(Process process) => _process = process;

    /// <summary>Starts the first Python that has PyTorch; null when there is none.</summary>
    /// <param name="python">The only one to try; null to look for one.</param>
    /// <param name="note">Hears when none is found.</param>
    /// <exception cref="DistTrainException"><paramref name="python"/> has no PyTorch, or is no Python.</exception>
    public static TorchProcess? TryStart(string? python, Action<string> note)
    {
        return TryFind(python, note)?.Started;
    }

    /// <summary>The first Python that has PyTorch; null when there is none. As <see cref="TryStart(string?, Action{string})"/> finds it.</summary>
    public static string? FindPython(string? python, Action<string> note)
    {
        if (TryFind(python, note) is not { } found) return null;
        found.Started.Dispose();
        return found.Python;
    }

    private static (TorchProcess Started, string Python)? TryFind(string? python, Action<string> note)
    {
        using var reader = new StreamReader(typeof(TorchProcess).Assembly.GetManifestResourceStream("DistTrain.Bench.torch_peer.py")!);
        string script = reader.ReadToEnd();
        foreach (string candidate in python is null ? ["python3", "/usr/bin/python3"] : new[] { python })
        {
            if (TryStart(candidate, script) is { } started) return (started, candidate);
        }
        if (python is not null) throw new DistTrainException(ExitCode.BadUsage, $"--python: '{python}' is no Python that has PyTorch");
        note("PyTorch: no Python with it was found (--python names one); its columns stay empty");
        return null;
    }

    /// <summary>Makes a piece of Python ready; gives the number by which bursts call it.</summary>
    /// <exception cref="InvalidOperationException">Python refuses it.</exception>
    public int Prepare(string setup, string call)
    {
        using JsonDocument answer = Ask($$"""{"id": {{Number(++_last)}}, "setup": {{Quote(setup)}}, "call": {{Quote(call)}}}""");
        if (answer.RootElement.TryGetProperty("error", out JsonElement error)) throw new InvalidOperationException($"PyTorch: {error.GetString()} in: {call}");
        return _last;
    }

    /// <summary>Does calls; gives the seconds by Python's own clock.</summary>
    public double Burst(int id, int calls)
    {
        using JsonDocument answer = Ask($$"""{"id": {{Number(id)}}, "burst": {{Number(calls)}}}""");
        return answer.RootElement.GetProperty("seconds").GetDouble();
    }

    /// <summary>Drops all that was prepared.</summary>
    public void Forget() => Ask("""{"forget": true}""").Dispose();

    /// <inheritdoc/>
    public void Dispose()
    {
        _process.StandardInput.Close();
        End(_process, TimeSpan.FromSeconds(5));
    }

    private static TorchProcess? TryStart(string python, string script)
    {
        var start = new ProcessStartInfo(python)
        {
            ArgumentList = { "-c", script },
            UseShellExecute = false,
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        };
        start.Environment["OMP_NUM_THREADS"] = "1";
        start.Environment["MKL_NUM_THREADS"] = "1";
        start.Environment.TryAdd("OPENBLAS_CORETYPE", "SkylakeX");
        try
        {
            Process process = Process.Start(start)!;
            process.ErrorDataReceived += (_, _) => { };
            process.BeginErrorReadLine();
            if (Line(process, StartLimit)?.StartsWith("{\"torch\":", StringComparison.Ordinal) == true) return new TorchProcess(process);
            End(process, TimeSpan.Zero);
        }
        catch (Win32Exception)
        {
            // This Python isn't there: the next one may be.
        }
        return null;
    }

    private static void End(Process process, TimeSpan patience)
    {
        if (!process.WaitForExit(patience)) process.Kill();
        process.Dispose();
    }

    private static string? Line(Process process, TimeSpan limit)
    {
        Task<string?> line = process.StandardOutput.ReadLineAsync();
        return line.Wait(limit) ? line.Result : null;
    }

    private static string Number(int value) => value.ToString(CultureInfo.InvariantCulture);

    private static string Quote(string text) => $"\"{JsonEncodedText.Encode(text)}\"";

    private JsonDocument Ask(string request)
    {
        _process.StandardInput.WriteLine(request);
        _process.StandardInput.Flush();
        string answer = Line(_process, AnswerLimit) ?? throw new InvalidOperationException("PyTorch: the Python process ended, or does not answer");
        return JsonDocument.Parse(answer);
    }
}

/// <summary>One piece of Python as a contender.</summary>
internal sealed class TorchContender(TorchProcess process, string name, string setup, string call, double work) : Contender(name, work)
{
    private int _id;

    public override void Prepare() => _id = process.Prepare(setup, call);

    public override double Burst(int calls) => process.Burst(_id, calls);
}
