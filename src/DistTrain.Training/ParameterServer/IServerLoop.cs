using System.Collections.Immutable;
using DistTrain.Core.Channels;
using DistTrain.Core.Messages;

namespace DistTrain.Training.ParameterServer;

/// <summary>
/// How a parameter server takes its partition from step to step under one term. <see cref="TryBegin"/> and <see cref="Wants"/> are
/// called from the channel's threads, everything else by the server's actor.
/// </summary>
internal interface IServerLoop : IDisposable
{
    /// <summary>The term that it belongs to.</summary>
    long Term { get; }

    /// <summary>Where weights are subscribed to.</summary>
    WeightsBroadcast Broadcast { get; }

    /// <summary>Room for a segment, or null to drop it. Everything is checked before memory is taken.</summary>
    ISegmentBuffer? TryBegin(in SegmentHeader header, int length);

    /// <summary>Whether there would be room for a segment.</summary>
    bool Wants(in SegmentHeader header, int length);

    /// <summary>A segment has arrived whole.</summary>
    void Receive(SegmentHeader header, ISegmentBuffer? buffer);

    /// <summary>The coordinator's clock moved.</summary>
    void Advance(Clock clock);

    /// <summary>The shards that the step in hand, or an evaluation, still lacks; none of a step that is not in hand.</summary>
    ImmutableArray<int> Missing(long step, bool evaluation);

    /// <summary>What it waits for.</summary>
    Explained Explain(long round);

    /// <summary>The norms over the whole model, that a step waits for.</summary>
    void Decided(NormsDecided norms);
}
