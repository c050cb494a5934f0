using Spectre.Console;
using Spectre.Console.Rendering;

namespace DistTrain.Cli.Progress;

/// <summary>Progress on a terminal: a bar at the bottom, redrawn ten times a second, and lines that scroll above it.</summary>
internal sealed class LiveDisplay : IDisplay
{
    private static readonly TimeSpan Redraw = TimeSpan.FromMilliseconds(100);

    private readonly IAnsiConsole _console;
    private readonly TaskCompletionSource _ended = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private Task? _drawing;
    private TrainingStarted? _started;
    private StepReport? _step;
    private string? _waiting;

    public LiveDisplay(IAnsiConsole console) => _console = console;

    /// <summary>A display on the terminal that <paramref name="output"/> writes to.</summary>
    public static LiveDisplay On(TextWriter output) =>
        new(AnsiConsole.Create(new AnsiConsoleSettings { Interactive = InteractionSupport.Yes, Out = new AnsiConsoleOutput(output) }));

    public void Line(string text) => Write(new Text(text + "\n"));

    public void Trouble(string text) => Write(new Text(text + "\n", new Style(Color.Yellow)));

    public void Waiting(string text)
    {
        if (text == _waiting) return;
        _waiting = text;
        Write(new Text(text + "\n", new Style(Color.Grey)));
    }

    public void Begin(TrainingStarted started)
    {
        _started = started;
        Spectre.Console.Progress progress = _console.Progress();
        progress.RefreshRate = Redraw;
        _drawing = progress
            .AutoClear(true)
            .HideCompleted(false)
            .Columns(new ProgressBarColumn { Width = 24 }, new Words(this))
            .StartAsync(async context =>
            {
                ProgressTask task = context.AddTask("training", maxValue: Math.Max(1, started.TotalSteps));
                while (!_ended.Task.IsCompleted)
                {
                    task.Value = _step?.Step ?? started.FirstStep;
                    await Task.WhenAny(_ended.Task, Task.Delay(Redraw));
                }
            });
    }

    public void Step(StepReport report) => _step = report;

    public void Evaluated(EvaluationReport report) => Line($"after {Figures.Plural(report.Epoch, "epoch")}: {Figures.Evaluation(report)}");

    public void End()
    {
        _ended.TrySetResult();
        _drawing?.GetAwaiter().GetResult();
        _drawing = null;
    }

    public void Table(string title, IReadOnlyList<(string Name, string Value)> rows)
    {
        Table table = new Table().Border(TableBorder.Rounded).BorderColor(Color.Grey).HideHeaders().Title(Markup.Escape(title)).AddColumn("").AddColumn("");
        foreach ((string name, string value) in rows) table.AddRow(new Text(name, new Style(Color.Grey)), new Text(value));
        _console.Write(table);
    }

    public void Dispose() => End();

    private void Write(IRenderable what) => _console.Write(what);

    /// <summary>What stands beside the bar.</summary>
    private sealed class Words(LiveDisplay display) : ProgressColumn
    {
        protected override bool NoWrap => true;

        public override IRenderable Render(RenderOptions options, ProgressTask task, TimeSpan deltaTime) =>
            new Text(display._step is { } step ? Figures.Step(step, display._started!) : "starting");
    }
}
