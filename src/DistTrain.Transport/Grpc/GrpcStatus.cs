namespace DistTrain.Transport.Grpc;

/// <summary>The status codes of gRPC; the numbers are the wire's.</summary>
public enum GrpcStatusCode
{
    /// <summary>Success.</summary>
    Ok = 0,

    /// <summary>The call was cancelled, mostly by its caller.</summary>
    Cancelled = 1,

    /// <summary>A failure that says no more about itself.</summary>
    Unknown = 2,

    /// <summary>An argument that is wrong whatever the state of the system.</summary>
    InvalidArgument = 3,

    /// <summary>The deadline passed before the call was done.</summary>
    DeadlineExceeded = 4,

    /// <summary>What was asked for isn't there.</summary>
    NotFound = 5,

    /// <summary>What was to be made is there already.</summary>
    AlreadyExists = 6,

    /// <summary>The caller is known, and may not.</summary>
    PermissionDenied = 7,

    /// <summary>A limit was reached: a message too large, a quota spent.</summary>
    ResourceExhausted = 8,

    /// <summary>The system isn't in the state that the call needs.</summary>
    FailedPrecondition = 9,

    /// <summary>Given up because of a conflict.</summary>
    Aborted = 10,

    /// <summary>Past the valid range.</summary>
    OutOfRange = 11,

    /// <summary>No such method, or no such encoding.</summary>
    Unimplemented = 12,

    /// <summary>A broken invariant, or bytes that are not what they should be.</summary>
    Internal = 13,

    /// <summary>The peer can't be reached at the moment.</summary>
    Unavailable = 14,

    /// <summary>Data is lost or corrupt.</summary>
    DataLoss = 15,

    /// <summary>No valid credentials came with the call.</summary>
    Unauthenticated = 16,
}

/// <summary>How a call ended.</summary>
/// <param name="Code">The code.</param>
/// <param name="Detail">What a human should know; may hold any Unicode text; empty for success.</param>
public readonly record struct GrpcStatus(GrpcStatusCode Code, string Detail)
{
    /// <summary>Success.</summary>
    public static GrpcStatus Ok => new(GrpcStatusCode.Ok, "");

    /// <inheritdoc/>
    public override string ToString() => string.IsNullOrEmpty(Detail) ? $"{Code}" : $"{Code}: {Detail}";
}
