using System.Diagnostics;
using System.Globalization;
using DistTrain.Core;

namespace DistTrain.Cli.Launching;

/// <summary>
/// The child's end of the pipe that a launcher holds as its standard input. It brings the token, the coordinator's
/// address and the word to stop, one a line; its end means that the launcher is dead, and then so is the child: no
/// process outlives <c>train</c>, however that was killed.
/// </summary>
/// <remarks>
/// Lines: <c>token T</c>, <c>join HOST:PORT</c>, <c>stop</c>, and to the coordinator <c>note TEXT</c> (to be shown) and
/// <c>gone CODE TEXT</c> (a member's process ended early) or <c>died CODE TEXT</c> (likewise, and another one is started).
/// </remarks>
internal sealed class Lifeline : IDisposable
{
    private readonly TaskCompletionSource<string> _token = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly TaskCompletionSource<string> _join = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly CancellationTokenSource _stop = new();
    private readonly Action _ended;
    private readonly Lock _gate = new();
    private readonly Queue<Action> _early = new();
    private Action<string>? _note;
    private Action<int, string, bool>? _gone;

    private Lifeline(Action ended) => _ended = ended;

    /// <summary>The job's secret.</summary>
    public Task<string> Token => _token.Task;

    /// <summary>Where the coordinator listens.</summary>
    public Task<string> Join => _join.Task;

    /// <summary>The launcher wants everything to end.</summary>
    public CancellationToken Stop => _stop.Token;

    /// <summary>
    /// From now on <paramref name="note"/> is called with lines to show, and <paramref name="gone"/> with the exit code of
    /// a member's process that ended early, the same in words, and whether another one is started. First they get what came before, in its order.
    /// </summary>
    public void Attach(Action<string> note, Action<int, string, bool> gone)
    {
        lock (_gate)
        {
            (_note, _gone) = (note, gone);
            while (_early.TryDequeue(out Action? early)) early();
        }
    }

    /// <summary>Begins to read standard input; this process dies when it ends.</summary>
    public static Lifeline OfStandardInput() => Start(Console.OpenStandardInput(), EndProcess);

    /// <summary>Begins to read <paramref name="input"/> on a thread of its own; <paramref name="ended"/> is called at its end.</summary>
    public static Lifeline Start(Stream input, Action ended)
    {
        var lifeline = new Lifeline(ended);
        new Thread(() => lifeline.Read(input)) { IsBackground = true, Name = "lifeline" }.Start();
        return lifeline;
    }

    /// <inheritdoc/>
    public void Dispose() => _stop.Dispose();

    private void Read(Stream input)
    {
        using var reader = new StreamReader(input);
        try
        {
            while (reader.ReadLine() is { } line) Handle(line);
        }
        catch (IOException)
        {
            // A broken pipe is an ended one.
        }

        _ended();
    }

    private void Handle(string line)
    {
        (string word, string rest) = Cut(line);
        switch (word)
        {
            case "token":
                _token.TrySetResult(rest);
                break;
            case "join":
                _join.TrySetResult(rest);
                break;
            case "stop":
                try
                {
                    _stop.Cancel();
                }
                catch (ObjectDisposedException)
                {
                    // Already on the way out.
                }

                break;
            case "note":
                Deliver(() => _note!(rest));
                break;
            case "gone" or "died":
                (string code, string text) = Cut(rest);
                if (int.TryParse(code, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out int number)) Deliver(() => _gone!(number, text, word == "died"));
                break;
        }
    }

    // Whoever dies while the coordinator still reads its job must be heard of too.
    private void Deliver(Action call)
    {
        lock (_gate)
        {
            if (_note is null) _early.Enqueue(call);
            else call();
        }
    }

    private static (string Word, string Tail) Cut(string line) =>
        line.IndexOf(' ', StringComparison.Ordinal) is var blank and >= 0 ? (line[..blank], line[(blank + 1)..]) : (line, "");

    /// <summary>Ends this process now: politely for a moment, then for certain.</summary>
    private static void EndProcess()
    {
        new Thread(() =>
        {
            Thread.Sleep(300);
            Process.GetCurrentProcess().Kill();
        })
        { IsBackground = true }.Start();
        Environment.Exit((int)ExitCode.ClusterLost);
    }
}
