namespace DistTrain.Transport.Tests.Channels;

/// <summary>How long a test waits for what must come before it fails: only ever reached by a failure.</summary>
internal static class Patience
{
    public static TimeSpan Long { get; } = TimeSpan.FromSeconds(60);
}
