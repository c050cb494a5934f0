namespace DistTrain.Cli.Launching;

/// <summary>How to start this very program again: its file, and what must stand before its arguments.</summary>
internal sealed record OwnExecutable(string File, IReadOnlyList<string> Prefix)
{
    /// <summary>
    /// The running executable: <c>disttrain</c> itself, or <c>dotnet disttrain.dll</c> where the runtime's own host was
    /// started with the assembly.
    /// </summary>
    public static OwnExecutable Find()
    {
        string process = Environment.ProcessPath ?? throw new InvalidOperationException("the path of the running executable is unknown");
        bool isHost = Path.GetFileNameWithoutExtension(process).Equals("dotnet", StringComparison.OrdinalIgnoreCase);
        string assembly = System.Reflection.Assembly.GetEntryAssembly()?.Location ?? "";
        return isHost && assembly.Length > 0 ? new(process, ["exec", assembly]) : new(process, []);
    }
}
