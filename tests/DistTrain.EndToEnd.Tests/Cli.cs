using System.Diagnostics;
using System.Reflection;
using System.Text;
using System.Text.Json;

namespace DistTrain.EndToEnd.Tests;

/// <summary>What a finished process left.</summary>
internal sealed record CliResult(int ExitCode, string Output, string Error)
{
    /// <summary>Everything, for a failing assertion's message.</summary>
    public override string ToString() => $"exit code {ExitCode}\n--- output\n{Output}\n--- error\n{Error}";
}

/// <summary>Runs the real command line as processes, each test in a directory of its own.</summary>
internal sealed class Cli : IDisposable
{
    // A run that hangs fails its test instead of the whole suite; no result depends on it.
    private static readonly TimeSpan Limit = TimeSpan.FromMinutes(4);

    public Cli() => Directory.CreateDirectory(Folder);

    public string Folder { get; } = Path.Combine(Path.GetTempPath(), "disttrain-test-" + Guid.NewGuid().ToString("N"));

    public static string Repository { get; } = Path.GetFullPath(Metadata("Repository"));

    public static string Metadata(string key) =>
        typeof(Cli).Assembly.GetCustomAttributes<AssemblyMetadataAttribute>().First(a => a.Key == key).Value!;

    public string File(string name, string content)
    {
        string path = Path.Combine(Folder, name);
        System.IO.File.WriteAllText(path, content);
        return path;
    }

    public async Task<CliResult> RunAsync(string arguments, params (string Key, string Value)[] environment)
    {
        using Running running = Start(arguments, environment);
        return await running.EndAsync();
    }

    /// <summary>Runs <c>train</c>, which must end well, and reads its figures.</summary>
    public async Task<JsonElement> TrainAsync(string arguments, params (string Key, string Value)[] environment)
    {
        CliResult result = await RunAsync($"train {arguments} --json result.json", environment);
        Assert.True(result.ExitCode == 0, result.ToString());
        return Json("result.json");
    }

    public JsonElement Json(string name) => JsonDocument.Parse(System.IO.File.ReadAllText(Path.Combine(Folder, name))).RootElement;

    public Running Start(string arguments, params (string Key, string Value)[] environment)
    {
        var start = new ProcessStartInfo("dotnet")
        {
            UseShellExecute = false,
            WorkingDirectory = Folder,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
            RedirectStandardInput = true,
        };
        start.ArgumentList.Add(Metadata("Cli"));
        foreach (string argument in arguments.Split(' ', StringSplitOptions.RemoveEmptyEntries)) start.ArgumentList.Add(argument);
        foreach ((string key, string value) in environment) start.Environment[key] = value;
        return new Running(Process.Start(start)!);
    }

    public void Dispose() => Directory.Delete(Folder, recursive: true);

    internal sealed class Running : IDisposable
    {
        private readonly Process _process;
        private readonly StringBuilder _output = new();
        private readonly StringBuilder _error = new();
        private readonly List<(string Text, int Times, TaskCompletionSource Seen)> _waits = [];
        private readonly Task _reading;

        public Running(Process process)
        {
            _process = process;
            _reading = Task.WhenAll(ReadAsync(process.StandardOutput, _output), ReadAsync(process.StandardError, _error));
        }

        public int Pid => _process.Id;

        /// <summary>Waits for a line that contains <paramref name="text"/>, on either stream; for the second such line and so on with <paramref name="times"/>.</summary>
        public async Task SeenAsync(string text, int times = 1)
        {
            var seen = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
            lock (_waits)
            {
                times -= $"{_output}\n{_error}".Split(text).Length - 1;
                if (times <= 0) return;
                _waits.Add((text, times, seen));
            }

            Task first = await Task.WhenAny(seen.Task, _reading).WaitAsync(Limit);
            Assert.True(first == seen.Task || seen.Task.IsCompleted, $"ended without '{text}'\n{_output}\n{_error}");
        }

        /// <summary>Waits for a coordinator to say where it listens.</summary>
        public async Task<string> AddressAsync()
        {
            const string Said = "listening on ";
            await SeenAsync(Said);
            lock (_waits) return _output.ToString().Split('\n').First(l => l.StartsWith(Said, StringComparison.Ordinal))[Said.Length..].Trim();
        }

        public async Task<CliResult> EndAsync()
        {
            using var limit = new CancellationTokenSource(Limit);
            try
            {
                await _process.WaitForExitAsync(limit.Token);
                await _reading.WaitAsync(limit.Token);
            }
            catch (OperationCanceledException)
            {
                _process.Kill(entireProcessTree: true);
                Assert.Fail($"did not end within {Limit}\n{_output}\n{_error}");
            }

            return new CliResult(_process.ExitCode, _output.ToString(), _error.ToString());
        }

        /// <summary>The process's children, by /proc.</summary>
        public List<int> Children() =>
            [.. System.IO.File.ReadAllText($"/proc/{Pid}/task/{Pid}/children").Split(' ', StringSplitOptions.RemoveEmptyEntries).Select(int.Parse)];

        /// <summary>The first of its children with this role.</summary>
        public int Child(string role) => Children().First(pid => System.IO.File.ReadAllText($"/proc/{pid}/cmdline").Split('\0').Contains(role));

        public void Signal(string signal) => Kill(Pid, signal);

        public void Dispose()
        {
            if (!_process.HasExited) _process.Kill(entireProcessTree: true);
            _process.Dispose();
        }

        private async Task ReadAsync(StreamReader reader, StringBuilder into)
        {
            while (await reader.ReadLineAsync() is { } line)
            {
                lock (_waits)
                {
                    into.AppendLine(line);
                    for (int i = 0; i < _waits.Count; i++)
                    {
                        (string text, int times, TaskCompletionSource seen) = _waits[i];
                        if (!line.Contains(text, StringComparison.Ordinal)) continue;
                        _waits[i] = (text, times - 1, seen);
                        if (times == 1) seen.TrySetResult();
                    }
                }
            }
        }
    }

    public static void Kill(int pid, string signal)
    {
        using Process kill = Process.Start("kill", [$"-{signal}", pid.ToString()]);
        kill.WaitForExit();
    }

    public static bool IsRunning(int pid)
    {
        try
        {
            // A zombie that nobody has waited for yet is dead enough.
            return !System.IO.File.ReadAllText($"/proc/{pid}/stat").Split(") ")[1].StartsWith('Z');
        }
        catch (IOException)
        {
            return false;
        }
    }
}
