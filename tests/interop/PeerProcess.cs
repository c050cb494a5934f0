using System.Collections.Concurrent;
using System.Diagnostics;
using System.Runtime.CompilerServices;

namespace DistTrain.Interop.Tests;

/// <summary>
/// A stock peer as a child process. It ends when its standard input closes, so that not even a killed test run leaves one
/// behind; here it is also killed when it doesn't.
/// </summary>
public sealed class PeerProcess : IDisposable
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(120);
    private readonly Process _process;
    private readonly BlockingCollection<string> _lines = [];
    private readonly ConcurrentQueue<string> _errors = new();

    private PeerProcess(string program, string[] arguments)
    {
        var start = new ProcessStartInfo(program, arguments)
        {
            UseShellExecute = false,
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        };
        start.Environment["PYTHONDONTWRITEBYTECODE"] = "1";
        foreach (string name in new[] { "http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "grpc_proxy" }) start.Environment.Remove(name);
        _process = Process.Start(start) ?? throw new InvalidOperationException($"{program} did not start");
        _process.OutputDataReceived += (_, e) =>
        {
            if (e.Data is null) _lines.CompleteAdding();
            else _lines.Add(e.Data);
        };
        _process.ErrorDataReceived += (_, e) => _errors.Enqueue(e.Data ?? "");
        _process.BeginOutputReadLine();
        _process.BeginErrorReadLine();
    }

    public int Id => _process.Id;

    public static PeerProcess Python(string script, params string[] arguments) =>
        new("/usr/bin/python3", [Path.Combine(Folder(), "python", script), .. arguments]);

    public static PeerProcess Node(string script, params string[] arguments)
    {
        string modules = Path.Combine(Folder(), "node", "node_modules");
        Assert.True(Directory.Exists(modules), "run tests/interop/install first");
        return new("node", [Path.Combine(Folder(), "node", script), .. arguments]);
    }

    public void Write(string line)
    {
        _process.StandardInput.WriteLine(line);
        _process.StandardInput.Flush();
    }

    public string Read()
    {
        try
        {
            if (_lines.TryTake(out string? line, Patience)) return line;
        }
        catch (InvalidOperationException)
        {
            // The collection was completed while it was waited for.
        }

        throw new InvalidOperationException($"the peer said nothing: {string.Join('\n', _errors)}");
    }

    /// <summary>Runs a scenario and expects it to pass.</summary>
    public void Run(string scenario, params string[] arguments)
    {
        Write(string.Join(' ', [scenario, .. arguments]));
        string answer = Read();
        Assert.True(answer == "ok", $"{answer}\n{string.Join('\n', _errors)}");
    }

    public void Kill()
    {
        _process.Kill(entireProcessTree: true);
        _process.WaitForExit();
    }

    /// <summary>Stops or continues the process without its knowing.</summary>
    public void Signal(string signal)
    {
        using Process kill = Process.Start("kill", [$"-{signal}", $"{_process.Id}"]);
        kill.WaitForExit();
    }

    public void Dispose()
    {
        if (!_process.HasExited)
        {
            _process.StandardInput.Close();
            if (!_process.WaitForExit(TimeSpan.FromSeconds(10))) Kill();
        }

        _process.Dispose();
    }

    private static string Folder([CallerFilePath] string path = "") => Path.GetDirectoryName(path)!;
}
