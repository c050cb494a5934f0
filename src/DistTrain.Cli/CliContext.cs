using DistTrain.Cli.Launching;
using DistTrain.Core;
using DistTrain.Jobs;

namespace DistTrain.Cli;

/// <summary>The library's entry points that commands call; tests put others in their place.</summary>
internal sealed record Runners(
    Func<Job, CoordinatorOptions, ITrainingObserver, CancellationToken, Task<TrainResult>> Coordinate,
    Func<MemberOptions, CancellationToken, Task<ExitCode>> Worker,
    Func<MemberOptions, CancellationToken, Task<ExitCode>> Server,
    Func<Job, bool, ITrainingObserver, CancellationToken, RunRecords?, Task<TrainResult>> InProcess)
{
    public static Runners Library { get; } = new(Roles.CoordinateAsync, Roles.RunWorkerAsync, Roles.RunServerAsync, Roles.TrainInProcessAsync);
}

/// <summary>What commands see of their process.</summary>
internal sealed record CliContext
{
    public required TextWriter Out { get; init; }

    public required TextWriter Error { get; init; }

    /// <summary>Whether <see cref="Out"/> is a terminal that can redraw lines.</summary>
    public bool Terminal { get; init; }

    public Runners Runners { get; init; } = Runners.Library;

    /// <summary>How to start this executable again.</summary>
    public OwnExecutable Executable { get; init; } = OwnExecutable.Find();

    public TimeProvider Time { get; init; } = TimeProvider.System;

    public static CliContext OfThisProcess()
    {
        // Spectre.Console knows a terminal by its being Console.Out.
        if (!Console.IsOutputRedirected) Console.SetOut(new TerminalWriter(Console.Out));
        if (!Console.IsErrorRedirected) Console.SetError(new TerminalWriter(Console.Error));
        return new()
        {
            Out = Console.Out,
            Error = Console.Error,
            Terminal = !Console.IsOutputRedirected && Environment.GetEnvironmentVariable("TERM") is not ("dumb" or ""),
        };
    }
}
