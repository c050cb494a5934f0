namespace DistTrain.Core;

/// <summary>The process exit codes: a promise to scripts that call <c>disttrain</c>.</summary>
public enum ExitCode
{
    /// <summary>Everything asked for was done.</summary>
    Done = 0,

    /// <summary>A bug in DistTrain.</summary>
    Internal = 1,

    /// <summary>A wrong command line or job file.</summary>
    BadUsage = 2,

    /// <summary>Bad data, or a checkpoint that can't be read or written.</summary>
    BadData = 3,

    /// <summary>The cluster was lost, or could not form.</summary>
    ClusterLost = 4,

    /// <summary>Training diverged: NaN or infinity.</summary>
    Diverged = 5,

    /// <summary>Stopped by Ctrl-C after saving; the shell's convention of 128 + SIGINT.</summary>
    Interrupted = 130,
}

/// <summary>
/// An error that a user can act on. Its message is one or two lines that name the culprit (worker, host, file,
/// line, key), what was expected and what came; it is printed without a stack trace.
/// </summary>
public sealed class DistTrainException : Exception
{
    /// <summary>Creates an error that ends the process with <paramref name="exitCode"/>.</summary>
    public DistTrainException(ExitCode exitCode, string message, Exception? innerException = null)
        : base(message, innerException) => ExitCode = exitCode;

    /// <summary>The code that the process ends with.</summary>
    public ExitCode ExitCode { get; }
}
