namespace DistTrain.Core;

/// <summary>What a link, or the way through memory, was measured to do.</summary>
/// <param name="Latency">Seconds from one end to the other for a message of a few bytes, with all that wakes on the way.</param>
/// <param name="BytesPerSecond">In the slower of both directions.</param>
public readonly record struct LinkSpeed(double Latency, double BytesPerSecond)
{
    /// <summary>Whether it was measured at all.</summary>
    public bool IsKnown => BytesPerSecond > 0 && Latency > 0;

    /// <summary>The worse of two in both respects; one that isn't known is left out.</summary>
    public static LinkSpeed Worse(LinkSpeed a, LinkSpeed b) =>
        !a.IsKnown ? b : !b.IsKnown ? a : new(Math.Max(a.Latency, b.Latency), Math.Min(a.BytesPerSecond, b.BytesPerSecond));
}
