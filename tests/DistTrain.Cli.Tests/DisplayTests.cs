using DistTrain.Cli.Progress;
using DistTrain.Core;
using DistTrain.Jobs;
using Spectre.Console;

namespace DistTrain.Cli.Tests;

public class DisplayTests
{
    private static readonly TrainingStarted Start = new("digits", "digits: 1,438 training and 359 test examples", "4 layers, 4,810 parameters", 4, 1, 8, 128, 0, 36, 12, null);

    private readonly StringWriter _out = new();
    private readonly StringWriter _error = new();

    [Fact]
    public void Plain_WholeRun_IsAFewLines()
    {
        var time = new ManualTime();
        using var observer = new ConsoleObserver(new PlainDisplay(_out, _error, time), _error, time, showListening: false);
        observer.Listening("127.0.0.1:5000");
        observer.Waiting("waiting for 5 workers");
        time.Advance(TimeSpan.FromSeconds(4));
        observer.Waiting("waiting for 4 workers");
        observer.Waiting("waiting for 4 workers");
        observer.Membership("worker 0 joined", trouble: false);
        observer.Started(Start);
        for (int step = 1; step <= 24; step++)
        {
            time.Advance(TimeSpan.FromMilliseconds(300));
            observer.Step(new StepReport(step, (step - 1) / 12, 2.0 / step, 128, 12345.6, TimeSpan.FromSeconds(36 - step)));
            if (step % 12 == 0) observer.Evaluated(new EvaluationReport(step, step / 12, 1.5 / step, 1.25 / step, 0.5 + step / 100.0));
        }

        observer.Membership("worker 3 on box (pid 77) was lost", trouble: true);
        observer.Finish(
            new TrainResult
            {
                Name = "digits",
                Steps = 36,
                Epochs = 3,
                TrainLoss = 0.0625,
                TestLoss = 0.09375,
                TestAccuracy = 0.975,
                WeightsSha256 = "abc",
                SamplesPerSecond = 54321,
                StepMsMedian = 1.5,
                WallSeconds = 3.21,
                Workers = 4,
                Servers = 1,
                Channel = "grpc",
                Failures = [new Failure("worker 3", "box", 77, 20, "killed", 5)],
                Checkpoint = "runs/digits/step-36",
            },
            JobReader.Load(null),
            new UsageHint("disttrain train"));
        Assert.Equal(
            """
            waiting for 4 workers
            digits: 1,438 training and 359 test examples
            4 layers, 4,810 parameters; mini-batches of 128 in 8 shards; 4 workers, 1 parameter server
            epoch 1/3, step 7/36, loss 0.2857, 12,346 examples/s, 29 s left
            after 1 epoch (step 12): train loss 0.1250, test loss 0.1042, test accuracy 0.6200
            epoch 2/3, step 19/36, loss 0.1053, 12,346 examples/s, 17 s left
            after 2 epochs (step 24): train loss 0.0625, test loss 0.0521, test accuracy 0.7400

            digits: trained
              test accuracy   0.9750
              test loss       0.0938
              train loss      0.0625
              steps           36 (3 epochs)
              speed           54,321 examples/s, 1.50 ms a step
              time            3.2 s
              cluster         4 workers, 1 parameter server, grpc
              lost            worker 3 on box (pid 77) at step 20: killed
              weights sha256  abc

            The model is saved in runs/digits/step-36
              disttrain eval runs/digits       measures it on the test examples
              disttrain inspect runs/digits    shows what is in it

            """,
            _out.ToString(),
            ignoreLineEndingDifferences: true);
        Assert.Equal("worker 3 on box (pid 77) was lost", _error.ToString().Trim());
    }

    [Fact]
    public void Plain_ShortEpochs_ShowsAtMostTwoASecondAndTheLast()
    {
        var time = new ManualTime();
        using var observer = new ConsoleObserver(new PlainDisplay(_out, _error, time), _error, time, showListening: false);
        observer.Started(Start with { TotalSteps = 120 });
        for (int epoch = 1; epoch <= 10; epoch++)
        {
            observer.Evaluated(new EvaluationReport(epoch * 12, epoch, 1, 1, null));
            time.Advance(TimeSpan.FromMilliseconds(130));
        }

        string[] shown = [.. _out.ToString().Split('\n').Where(l => l.StartsWith("after", StringComparison.Ordinal)).Select(l => l.Split(' ')[1])];
        Assert.Equal(["1", "5", "9", "10"], shown);
    }

    [Fact]
    public void Plain_AfterTheEnd_StaysSilent()
    {
        using var observer = new ConsoleObserver(new PlainDisplay(_out, _error, TimeProvider.System), _error, TimeProvider.System, showListening: true);
        observer.Finish(new TrainResult { ExitCode = 4, Error = "lost" }, JobReader.Load(null), new UsageHint("disttrain train"));
        observer.Trouble("worker 1 ended");
        Assert.Equal(("", "disttrain: lost"), (_out.ToString(), _error.ToString().Trim()));
    }

    [Fact]
    public void Live_WholeRun_DrawsBarLinesAndTable()
    {
        IAnsiConsole console = AnsiConsole.Create(new AnsiConsoleSettings
        {
            Ansi = AnsiSupport.Yes,
            ColorSystem = ColorSystemSupport.NoColors,
            Interactive = InteractionSupport.Yes,
            Out = new AnsiConsoleOutput(_out),
        });
        console.Profile.Width = 120;
        using (var observer = new ConsoleObserver(new Progress.LiveDisplay(console), _error, TimeProvider.System, showListening: false))
        {
            observer.Started(Start);
            observer.Step(new StepReport(5, 0, 0.5, 128, 1000, TimeSpan.FromSeconds(9)));
            observer.Evaluated(new EvaluationReport(12, 1, 1.5, 1.25, 0.9));
            observer.Note("worker 2 | [a line] with brackets");
            observer.Step(new StepReport(36, 2, 0.25, 128, 1000, TimeSpan.Zero));
            observer.Finish(new TrainResult { Name = "digits", TestAccuracy = 0.98, Checkpoint = "runs/digits/step-36" }, JobReader.Load(null), new UsageHint("disttrain train"));
        }

        string drawn = _out.ToString();
        Assert.Contains("after 1 epoch: train loss 1.5000, test loss 1.2500, test accuracy 0.9000", drawn, StringComparison.Ordinal);
        Assert.Contains("worker 2 | [a line] with brackets", drawn, StringComparison.Ordinal);
        Assert.Contains("0.9800", drawn, StringComparison.Ordinal);
        Assert.Contains("epoch 3/3, step 36/36, loss 0.2500, 1,000 examples/s", drawn, StringComparison.Ordinal);
        // The cursor is shown again.
        Assert.EndsWith("shows what is in it", drawn.TrimEnd(), StringComparison.Ordinal);
        Assert.True(drawn.LastIndexOf("\u001b[?25h", StringComparison.Ordinal) > drawn.LastIndexOf("\u001b[?25l", StringComparison.Ordinal));
    }

    [Theory]
    [InlineData(3.21, "3.2 s")]
    [InlineData(99, "99 s")]
    [InlineData(185, "3 min 05 s")]
    [InlineData(7500, "2 h 05 min")]
    public void Time_AnyLength_ReadsWell(double seconds, string expected) => Assert.Equal(expected, Figures.Time(TimeSpan.FromSeconds(seconds)));
}
