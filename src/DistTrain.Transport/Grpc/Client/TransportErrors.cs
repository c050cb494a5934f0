using System.Net.Sockets;
using System.Security.Authentication;

namespace DistTrain.Transport.Grpc;

/// <summary>The status of a call whose connection or stream failed under it.</summary>
internal static class TransportErrors
{
    /// <summary>
    /// Whether an exception says that the call's connection or stream failed, and not that a message is bad. HttpClient throws a bare
    /// SocketException where the peer is gone again the moment that it was connected to.
    /// </summary>
    public static bool Interrupts(Exception exception) =>
        exception is OperationCanceledException or IOException or HttpRequestException or SocketException or ObjectDisposedException;

    public static GrpcException ToGrpc(Exception exception, Uri address, TimeSpan connectTimeout)
    {
        string peer = address.Authority;
        for (Exception? e = exception; e is not null; e = e.InnerException)
        {
            switch (e)
            {
                case HttpProtocolException protocol when IsStreamReset(protocol):
                    (GrpcStatusCode code, string name) = FromHttp2(protocol.ErrorCode);
                    return new(code, $"{peer} broke the call off: HTTP/2 {name}", exception);
                case TimeoutException:
                    return Unavailable($"no connection to {peer} within {connectTimeout.TotalSeconds:0.###} s");
                case AuthenticationException tls:
                    return Unavailable($"TLS with {peer} failed: {tls.InnerException?.Message ?? tls.Message}");
                case HttpRequestException { HttpRequestError: HttpRequestError.ConnectionError or HttpRequestError.NameResolutionError, InnerException: SocketException socket }:
                    return Unavailable($"cannot reach {peer}: {socket.Message}");
                case HttpRequestException { HttpRequestError: HttpRequestError.VersionNegotiationError }:
                    return Unavailable($"{peer} does not speak HTTP/2");
            }
        }

        return Unavailable($"the connection to {peer} was lost: {exception.Message}");

        GrpcException Unavailable(string detail) => new(GrpcStatusCode.Unavailable, detail, exception);
    }

    /// <summary>
    /// HttpClient throws the same type for a stream that the peer reset and for a connection that broke (an unanswered
    /// keep-alive ping, bytes that are no HTTP/2); only the text tells them apart.
    /// </summary>
    private static bool IsStreamReset(HttpProtocolException e) => e.Message.Contains("reset the stream", StringComparison.Ordinal);

    private static (GrpcStatusCode Code, string Name) FromHttp2(long error) => error switch
    {
        0x0 => (GrpcStatusCode.Internal, "NO_ERROR"),
        0x1 => (GrpcStatusCode.Internal, "PROTOCOL_ERROR"),
        0x2 => (GrpcStatusCode.Internal, "INTERNAL_ERROR"),
        0x3 => (GrpcStatusCode.Internal, "FLOW_CONTROL_ERROR"),
        0x4 => (GrpcStatusCode.Internal, "SETTINGS_TIMEOUT"),
        0x5 => (GrpcStatusCode.Internal, "STREAM_CLOSED"),
        0x6 => (GrpcStatusCode.Internal, "FRAME_SIZE_ERROR"),
        0x7 => (GrpcStatusCode.Unavailable, "REFUSED_STREAM"),
        0x8 => (GrpcStatusCode.Cancelled, "CANCEL"),
        0x9 => (GrpcStatusCode.Internal, "COMPRESSION_ERROR"),
        0xa => (GrpcStatusCode.Internal, "CONNECT_ERROR"),
        0xb => (GrpcStatusCode.ResourceExhausted, "ENHANCE_YOUR_CALM"),
        0xc => (GrpcStatusCode.PermissionDenied, "INADEQUATE_SECURITY"),
        _ => (GrpcStatusCode.Internal, $"error {error}"),
    };
}
