using System.Diagnostics;
using System.Globalization;
using System.Runtime.InteropServices;

namespace DistTrain.Cli.Launching;

/// <summary>A process of this program, started by <c>train</c>, with its lifeline.</summary>
internal sealed partial class ChildProcess : IDisposable
{
    private readonly Process _process;
    private readonly TaskCompletionSource<int> _exited = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly Lock _writing = new();
    private bool _closed;

    private ChildProcess(string role, Process process) => (Role, _process) = (role, process);

    /// <summary>What it was started as, such as <c>worker</c>; members get their numbers from the coordinator.</summary>
    public string Role { get; }

    public int Id { get; private set; }

    /// <summary>Completes with the exit code when the process has ended; 128 + n after signal n.</summary>
    public Task<int> Exited => _exited.Task;

    /// <summary>
    /// Starts the executable. With <paramref name="said"/> its output is captured and handed over line by line; without,
    /// it shares ours.
    /// </summary>
    public static ChildProcess Start(OwnExecutable executable, string role, IEnumerable<string> arguments, Action<ChildProcess, string>? said)
    {
        var info = new ProcessStartInfo(executable.File, executable.Prefix.Concat(arguments))
        {
            RedirectStandardInput = true,
            RedirectStandardOutput = said is not null,
            RedirectStandardError = said is not null,
            UseShellExecute = false,
        };
        var child = new ChildProcess(role, new Process { StartInfo = info, EnableRaisingEvents = true });
        child._process.Exited += (_, _) => child._exited.TrySetResult(child._process.ExitCode);
        child._process.Start();
        child.Id = child._process.Id;
        if (said is not null)
        {
            _ = ForwardAsync(child, child._process.StandardOutput, said);
            _ = ForwardAsync(child, child._process.StandardError, said);
        }

        return child;
    }

    /// <summary>Writes a line to its lifeline; one to a process that has ended is lost.</summary>
    public void Send(string line)
    {
        lock (_writing)
        {
            if (_closed) return;
            try
            {
                _process.StandardInput.Write(line.ReplaceLineEndings(" ") + "\n");
                _process.StandardInput.Flush();
            }
            catch (IOException)
            {
                _closed = true;
            }
        }
    }

    /// <summary>Closes the lifeline: the process ends by itself.</summary>
    public void Release()
    {
        lock (_writing)
        {
            if (_closed) return;
            _closed = true;
            try
            {
                _process.StandardInput.Close();
            }
            catch (IOException)
            {
                // It has ended already.
            }
        }
    }

    /// <summary>Has it tell what it does and waits for.</summary>
    public void AskToExplain()
    {
        if (!_exited.Task.IsCompleted) NativeMethods.Kill(Id, NativeMethods.Quit);
    }

    public void Kill()
    {
        try
        {
            _process.Kill();
        }
        catch (Exception e) when (e is InvalidOperationException or System.ComponentModel.Win32Exception)
        {
            // It has ended already.
        }
    }

    /// <summary>Such as <c>worker (pid 4711)</c>.</summary>
    public override string ToString() => string.Create(CultureInfo.InvariantCulture, $"{Role} (pid {Id})");

    /// <summary>How it ended.</summary>
    public string Describe(int exitCode) =>
        string.Create(CultureInfo.InvariantCulture, $"{this} {(SignalName(exitCode) is { } signal ? $"was killed by {signal}" : $"ended with exit code {exitCode}")}");

    /// <summary>The signal that an exit code stands for; null when the process ended by itself.</summary>
    public static string? SignalName(int exitCode) => OperatingSystem.IsWindows() ? null : (exitCode - 128) switch
    {
        1 => "SIGHUP",
        3 => "SIGQUIT",
        4 => "SIGILL",
        6 => "SIGABRT",
        7 => "SIGBUS",
        8 => "SIGFPE",
        9 => "SIGKILL (perhaps for want of memory)",
        11 => "SIGSEGV",
        13 => "SIGPIPE",
        15 => "SIGTERM",
        > 0 and <= 64 and not 2 => string.Create(CultureInfo.InvariantCulture, $"signal {exitCode - 128}"),
        _ => null,
    };

    /// <inheritdoc/>
    public void Dispose() => _process.Dispose();

    private static partial class NativeMethods
    {
        public const int Quit = 3;

        [LibraryImport("libc", EntryPoint = "kill")]
        public static partial int Kill(int pid, int signal);
    }

    private static async Task ForwardAsync(ChildProcess child, StreamReader from, Action<ChildProcess, string> said)
    {
        try
        {
            while (await from.ReadLineAsync() is { } line) said(child, line);
        }
        catch (Exception e) when (e is IOException or ObjectDisposedException)
        {
            // What it said last is lost with it.
        }
    }
}
