using System.ComponentModel;
using System.Diagnostics;
using System.Globalization;
using System.Text.Json;

namespace DistTrain.Bench.Peers;

/// <summary>A Python process with PyTorch, on the same core as ours: while one works, the other waits.</summary>
internal sealed class TorchProcess : IDisposable
{
    private readonly Process _process;
    private readonly DirectoryInfo _folder;
    private int _last;

    private TorchProcess(Process process, DirectoryInfo folder)
    {
        _process = process;
        _folder = folder;
    }

    /// <summary>Starts the first Python that has PyTorch; null when there is none.</summary>
    public static TorchProcess? TryStart(string? python, Action<string> note)
    {
        // A directory of our own: nobody else can put a script where this one will be.
        DirectoryInfo folder = Directory.CreateTempSubdirectory("disttrain-torch-peer-");
        TorchProcess? started = null;
        try
        {
            string script = Path.Combine(folder.FullName, "torch_peer.py");
            using (Stream source = typeof(TorchProcess).Assembly.GetManifestResourceStream("DistTrain.Bench.torch_peer.py")!)
            using (FileStream target = File.Create(script)) source.CopyTo(target);
            foreach (string candidate in python is null ? ["python3", "/usr/bin/python3"] : new[] { python })
            {
                started = TryStart(candidate, script, folder);
                if (started is not null) return started;
            }
        }
        finally
        {
            if (started is null) folder.Delete(recursive: true);
        }
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
        try
        {
            _process.StandardInput.Close();
            if (!_process.WaitForExit(TimeSpan.FromSeconds(5)))
            {
                _process.Kill();
                _process.WaitForExit();
            }
        }
        catch (IOException)
        {
            // The process ended by itself, with something still on its way to it.
        }
        finally
        {
            _process.Dispose();
            _folder.Delete(recursive: true);
        }
    }

    private static TorchProcess? TryStart(string python, string script, DirectoryInfo folder)
    {
        var start = new ProcessStartInfo(python)
        {
            ArgumentList = { script },
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
            if (process.StandardOutput.ReadLine() is not null) return new TorchProcess(process, folder);
            process.WaitForExit();
            process.Dispose();
        }
        catch (Win32Exception)
        {
            // This Python isn't there: the next one may be.
        }
        return null;
    }

    private static string Number(int value) => value.ToString(CultureInfo.InvariantCulture);

    private static string Quote(string text) => $"\"{JsonEncodedText.Encode(text)}\"";

    private JsonDocument Ask(string request)
    {
        _process.StandardInput.WriteLine(request);
        _process.StandardInput.Flush();
        string answer = _process.StandardOutput.ReadLine() ?? throw new InvalidOperationException("PyTorch: the Python process ended");
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
