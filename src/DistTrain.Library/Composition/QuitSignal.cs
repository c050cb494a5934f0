using System.Runtime.InteropServices;

namespace DistTrain.Composition;

/// <summary><c>kill -QUIT</c> and Ctrl-\: the process tells what it does and waits for, and goes on.</summary>
internal static class QuitSignal
{
    /// <summary>Calls back at every such signal until it is disposed of.</summary>
    public static IDisposable On(Action explain) => PosixSignalRegistration.Create(PosixSignal.SIGQUIT, context =>
    {
        context.Cancel = true;
        explain();
    });
}
