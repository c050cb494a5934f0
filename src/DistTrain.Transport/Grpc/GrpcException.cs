namespace DistTrain.Transport.Grpc;

/// <summary>
/// The end of a call with a status other than OK. A client gets it from reads and writes; a server's handler throws
/// it to end its call with that status.
/// </summary>
public sealed class GrpcException : Exception
{
    /// <summary>Creates the end of a call.</summary>
    public GrpcException(GrpcStatusCode code, string detail, Exception? innerException = null)
        : this(new GrpcStatus(code, detail), null, innerException)
    {
    }

    /// <summary>Creates the end of a call with metadata for its trailers.</summary>
    public GrpcException(GrpcStatus status, GrpcMetadata? trailers = null, Exception? innerException = null)
        : base(status.ToString(), innerException)
    {
        Status = status;
        Trailers = trailers ?? GrpcMetadata.Empty;
    }

    /// <summary>Code and detail.</summary>
    public GrpcStatus Status { get; }

    /// <summary>The code.</summary>
    public GrpcStatusCode Code => Status.Code;

    /// <summary>What a human should know.</summary>
    public string Detail => Status.Detail;

    /// <summary>The trailers that came, or are to go, with the status.</summary>
    public GrpcMetadata Trailers { get; }
}
