using DistTrain.Core;
using DistTrain.Jobs;

namespace DistTrain.Cli.Progress;

/// <summary>Shows a run: a live bar on a terminal, plain lines elsewhere, and the closing table.</summary>
internal sealed class ConsoleObserver : ITrainingObserver, IDisposable
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(3);
    private static readonly TimeSpan EvaluationPause = TimeSpan.FromMilliseconds(500);
    private static readonly TimeSpan TroublePause = TimeSpan.FromMilliseconds(500);

    private readonly Lock _gate = new();
    private readonly IDisplay _display;
    private readonly TextWriter _error;
    private readonly TimeProvider _time;
    private readonly bool _showListening;
    private readonly long _created;
    private readonly List<string> _troubles = [];
    private readonly ITimer _showTroubles;
    private long _totalSteps;
    private long? _evaluated;
    private bool _finished;

    /// <param name="display">Where to show it.</param>
    /// <param name="error">Where errors go.</param>
    /// <param name="time">The clock.</param>
    /// <param name="showListening">Whether members come from elsewhere, so that addresses and arrivals matter.</param>
    public ConsoleObserver(IDisplay display, TextWriter error, TimeProvider time, bool showListening)
    {
        (_display, _error, _time, _showListening, _created) = (display, error, time, showListening, time.GetTimestamp());
        _showTroubles = time.CreateTimer(_ => Show(_ => ShowTroubles(int.MaxValue)), null, Timeout.InfiniteTimeSpan, Timeout.InfiniteTimeSpan);
    }

    /// <summary>Whether training has begun.</summary>
    public bool HasStarted { get; private set; }

    /// <summary>The observer for a process's output. Spectre.Console is loaded only where it is a terminal.</summary>
    public static ConsoleObserver Create(CliContext context, bool showListening) =>
        new(context.Terminal ? Live(context.Out) : new PlainDisplay(context.Out, context.Error, context.Time), context.Error, context.Time, showListening);

    public void Listening(string address) => Show(d =>
    {
        if (_showListening) d.Line($"listening on {address}");
    });

    public void Waiting(string message) => Show(d =>
    {
        // Processes of our own are there in a moment.
        if (_showListening || _time.GetElapsedTime(_created) >= Patience) d.Waiting(message);
    });

    public void Started(TrainingStarted info) => Show(d =>
    {
        HasStarted = true;
        _totalSteps = info.TotalSteps;
        d.Line(info.Data.StartsWith(info.Job, StringComparison.Ordinal) ? info.Data : $"{info.Job}: {info.Data}");
        d.Line($"{info.Model}; mini-batches of {Figures.Count(info.BatchSize)} in {Figures.Plural(info.Shards, "shard")}; {Figures.Plural(info.Workers, "worker")}, {Figures.Plural(info.Servers, "parameter server")}");
        if (info.Resumed is { } from) d.Line($"going on after step {info.FirstStep} from {from}");
        d.Begin(info);
    });

    public void Step(StepReport report) => Show(d => d.Step(report));

    public void Evaluated(EvaluationReport report) => Show(d =>
    {
        // Epochs may take milliseconds; the last one always counts.
        bool last = report.Version >= _totalSteps;
        if (!last && _evaluated is { } before && _time.GetElapsedTime(before) < EvaluationPause) return;
        _evaluated = _time.GetTimestamp();
        d.Evaluated(report);
    });

    public void Saved(long version, string path) => Show(_ => { });

    public void Membership(string message, bool trouble) => Show(d =>
    {
        // In a local run it goes without saying that everyone comes.
        if (trouble) Hold(message);
        else if (_showListening) d.Line(message);
    });

    public void Warn(string message) => Trouble(message);

    /// <summary>Shows a line.</summary>
    public void Note(string text) => Show(d => d.Line(text));

    /// <summary>
    /// Shows a line that should be noticed, in a moment: if the run ends in an error before that, it is one of several
    /// consequences of the same cause, and only the first is shown beside the error.
    /// </summary>
    public void Trouble(string text) => Show(_ => Hold(text));

    /// <summary>The closing words: table, where the model is, what to do with it; or what went wrong, on stderr.</summary>
    public void Finish(TrainResult result, Job job, UsageHint hint) => Show(d =>
    {
        _finished = true;
        d.End();
        if (result.Error is { } cause) _troubles.RemoveAll(t => Repeats(cause, t));
        ShowTroubles(result.Error is null ? int.MaxValue : result.Error.Contains('\n', StringComparison.Ordinal) ? 0 : 1);
        if (result.ExitCode == (int)ExitCode.Done) d.Table($"{(result.Name.Length > 0 ? result.Name : job.Name)}: trained", ClosingTable.Rows(result));
        if (result.Error is { } error) _error.WriteLine($"disttrain: {error}");
        foreach (string line in hint.Lines(result, job)) d.Line(line);
    });

    public void Dispose()
    {
        lock (_gate)
        {
            // Without closing words an error is on its way.
            if (!_finished) ShowTroubles(1);
            _finished = true;
            _showTroubles.Dispose();
            _display.Dispose();
        }
    }

    private void Hold(string trouble)
    {
        if (_troubles.Count == 0) _showTroubles.Change(TroublePause, Timeout.InfiniteTimeSpan);
        _troubles.Add(trouble);
    }

    private void ShowTroubles(int most)
    {
        foreach (string trouble in _troubles.Take(most)) _display.Trouble(trouble);
        _troubles.Clear();
    }

    // 'worker 3 was lost at step 20: …' says no more than 'worker 3 was lost: …; it was the last worker'.
    private static bool Repeats(string error, string trouble) =>
        error.Contains(trouble, StringComparison.Ordinal)
        || (trouble.IndexOf(" was lost", StringComparison.Ordinal) is var end and > 0 && error.StartsWith(trouble[..(end + " was lost".Length)], StringComparison.Ordinal));

    // Lines from the launcher come on a thread of their own, beside the coordinator's calls.
    private void Show(Action<IDisplay> action)
    {
        lock (_gate)
        {
            if (!_finished) action(_display);
        }
    }

    // A method of its own: the runtime loads Spectre.Console when it compiles the caller of it.
    [System.Runtime.CompilerServices.MethodImpl(System.Runtime.CompilerServices.MethodImplOptions.NoInlining)]
    private static IDisplay Live(TextWriter output) => LiveDisplay.On(output);
}
