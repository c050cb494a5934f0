namespace DistTrain.Cli.Progress;

/// <summary>Progress as plain lines, for files and pipes: one an epoch, and in between at most one every two seconds.</summary>
internal sealed class PlainDisplay(TextWriter output, TextWriter error, TimeProvider time) : IDisplay
{
    private static readonly TimeSpan StepPause = TimeSpan.FromSeconds(2);
    private static readonly TimeSpan WaitingPause = TimeSpan.FromSeconds(5);

    private TrainingStarted? _started;
    private string? _waiting;
    private long _lastStep;
    private long _lastWaiting;

    public void Line(string text)
    {
        output.WriteLine(text);
        output.Flush();
    }

    public void Trouble(string text)
    {
        error.WriteLine(text);
        error.Flush();
    }

    public void Waiting(string text)
    {
        long now = time.GetTimestamp();
        if (text == _waiting && time.GetElapsedTime(_lastWaiting, now) < WaitingPause) return;
        (_waiting, _lastWaiting) = (text, now);
        Line(text);
    }

    public void Begin(TrainingStarted started)
    {
        _started = started;
        _lastStep = time.GetTimestamp();
    }

    public void Step(StepReport report)
    {
        if (_started is null || time.GetElapsedTime(_lastStep) < StepPause) return;
        Line(Figures.Step(report, _started));
        _lastStep = time.GetTimestamp();
    }

    public void Evaluated(EvaluationReport report)
    {
        Line($"after {Figures.Plural(report.Epoch, "epoch")} (step {report.Version}): {Figures.Evaluation(report)}");
        _lastStep = time.GetTimestamp();
    }

    public void End()
    {
    }

    public void Table(string title, IReadOnlyList<(string Name, string Value)> rows)
    {
        int width = rows.Max(r => r.Name.Length);
        Line("");
        Line(title);
        foreach ((string name, string value) in rows) Line($"  {name.PadRight(width)}  {value}");
        Line("");
    }

    public void Dispose()
    {
    }
}
