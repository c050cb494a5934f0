using System.CommandLine;
using DistTrain.Cli.Commands;
using DistTrain.Cli.Options;
using DistTrain.Core;
using DistTrain.Kernels;

namespace DistTrain.Cli;

/// <summary>Parses the command line, runs its command, and turns every failure into one line and an exit code.</summary>
internal static class App
{
    public static async Task<int> RunAsync(string[] args, CliContext context)
    {
        string? json = JsonFile.PathIn(args);
        try
        {
            ParseResult parsed = CommandTree.Create(context).Parse(args, new ParserConfiguration { ResponseFileTokenReplacer = null });
            UsageErrors.Check(parsed);
            CheckSimdPath();
            var configuration = new InvocationConfiguration
            {
                EnableDefaultExceptionHandler = false,
                ProcessTerminationTimeout = null,
                Output = context.Out,
                Error = context.Error,
            };
            return await parsed.InvokeAsync(configuration);
        }
        catch (Exception e)
        {
            (ExitCode code, string message) = Describe(e);
            Report(context.Error, message, e);
            if (json is not null) JsonFile.TryWriteFailure(json, trains: args[0] is "train" or "coordinator", code, message, context.Error);
            return (int)code;
        }
    }

    private static void CheckSimdPath()
    {
        try
        {
            SimdPath.Validate();
        }
        catch (ArgumentException e)
        {
            throw new DistTrainException(ExitCode.BadUsage, e.Message.Split(" (Parameter", 2)[0], e);
        }
    }

    /// <summary>The exit code and the line for a failure.</summary>
    public static (ExitCode Code, string Message) Describe(Exception e) => e switch
    {
        DistTrainException known => (known.ExitCode, known.Message),
        AggregateException { InnerExceptions.Count: 1 } one => Describe(one.InnerExceptions[0]),
        OutOfMemoryException => (ExitCode.BadUsage, "not enough memory for this job: " + e.Message),
        _ => (ExitCode.Internal, $"internal error: {e.GetType().Name}: {e.Message} (DISTTRAIN_TRACE=1 shows where)"),
    };

    private static void Report(TextWriter error, string message, Exception e)
    {
        error.WriteLine($"disttrain: {message}");
        if (Environment.GetEnvironmentVariable("DISTTRAIN_TRACE") is "1" or "true") error.WriteLine(e);
        error.Flush();
    }
}
