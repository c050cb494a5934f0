namespace DistTrain.Core.Tracing;

/// <summary>
/// What a member can be seen doing. The way of a gradient is gradient ready → bucket ready → pushed → reduced → published → applied,
/// where a server, for which to apply is to make what it publishes, does the last two in the other order.
/// </summary>
public enum TraceName : byte
{
    /// <summary>No event.</summary>
    None,

    /// <summary>A worker takes its examples of a step.</summary>
    Gather,

    /// <summary>A worker runs forward, as far as the weights are there.</summary>
    Forward,

    /// <summary>A worker takes the loss.</summary>
    Loss,

    /// <summary>A worker runs backward.</summary>
    Backward,

    /// <summary>A worker trains a shard by itself (local SGD).</summary>
    LocalSteps,

    /// <summary>Backward has finished some elements of the flat vector; no duration.</summary>
    GradientReady,

    /// <summary>A bucket's gradients are final, and are packed to travel.</summary>
    BucketReady,

    /// <summary>A worker hands a segment to the channel.</summary>
    Pushed,

    /// <summary>A worker waits for weights.</summary>
    WaitForWeights,

    /// <summary>A worker waits for the coordinator's clock, or for shards.</summary>
    WaitForGrant,

    /// <summary>A worker evaluates shards of the test set.</summary>
    Evaluate,

    /// <summary>A bucket's weights have arrived at a worker; no duration.</summary>
    Arrived,

    /// <summary>A segment has arrived at a server; no duration.</summary>
    Received,

    /// <summary>A server places a segment in the shard tree, and joins what can be joined.</summary>
    Reduced,

    /// <summary>A server updates a bucket's weights.</summary>
    Applied,

    /// <summary>A server offers a bucket's new weights to its subscribers.</summary>
    Published,

    /// <summary>The coordinator has heard of a step from every partition; no duration.</summary>
    Committed,

    /// <summary>The coordinator grants steps below the one that is named; no duration.</summary>
    Granted,

    /// <summary>How many segments lie in a server's mailbox.</summary>
    SegmentsWaiting,

    /// <summary>How many segments a server holds until the rest of their step is there.</summary>
    SegmentsHeld,

    /// <summary>How many steps a worker holds gradients of, which may have to be sent again.</summary>
    StepsHeld,

    /// <summary>Managed bytes that the process has allocated.</summary>
    ManagedBytes,
}
