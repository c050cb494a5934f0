namespace DistTrain.Transport.Grpc;

/// <summary>What can be wrong with a message on its way.</summary>
internal static class FrameErrors
{
    public static GrpcException TooLarge(string what, long limit) =>
        new(GrpcStatusCode.ResourceExhausted, $"{what} than the limit of {limit} bytes");

    public static GrpcException Truncated() =>
        new(GrpcStatusCode.Internal, "the stream ended in the middle of a message");

    public static GrpcException BadFlag(int flag) =>
        new(GrpcStatusCode.Internal, $"a message begins with compression flag {flag}; expected 0 or 1");

    public static GrpcException UnexpectedCompression() =>
        new(GrpcStatusCode.Internal, "a message is marked as compressed, but grpc-encoding names no compression");

    public static GrpcException BadMessage(string type, Exception cause) =>
        new(GrpcStatusCode.Internal, $"a message is no valid {type}: {cause.Message}", cause);
}
