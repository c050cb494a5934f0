namespace DistTrain.Core.Memory;

/// <summary>
/// What two processes have in common that can open each other's files under /proc: the boot of one machine, the
/// namespace of processes and the user.
/// </summary>
public static class HostIdentity
{
    /// <summary>Of this process; empty where memory can't be shared.</summary>
    public static string Own { get; } = Read();

    private static string Read()
    {
        if (!SharedRegion.IsSupported) return "";
        try
        {
            string boot = File.ReadAllText("/proc/sys/kernel/random/boot_id").Trim();
            string? processes = new FileInfo("/proc/self/ns/pid").LinkTarget;
            return processes is null ? "" : $"{boot} {processes} {Environment.UserName}";
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return "";
        }
    }
}
