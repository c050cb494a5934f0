using System.Net;
using Google.Protobuf.Reflection;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Abstractions;

namespace DistTrain.Transport.Grpc;

/// <summary>How a <see cref="GrpcServer"/> listens and what it lets through.</summary>
public sealed record GrpcServerOptions
{
    /// <summary>Where to listen; port 0 takes a free one (<see cref="GrpcServer.Endpoints"/> says which).</summary>
    public required IReadOnlyList<IPEndPoint> Listen { get; init; }

    /// <summary>TLS; null speaks HTTP/2 in the clear (h2c with prior knowledge).</summary>
    public GrpcServerTls? Tls { get; init; }

    /// <summary>
    /// Every call but those of <c>grpc.health.v1.Health</c> must carry <c>authorization: Bearer</c> with this token. Health
    /// is exempt because probes hold no secrets, and it tells nothing but whether the process serves. Null asks for none.
    /// </summary>
    public string? BearerToken { get; init; }

    /// <summary>The largest message that may come, in bytes, compressed or not. A larger one ends its call with RESOURCE_EXHAUSTED.</summary>
    public int MaxReceiveMessageSize { get; init; } = 128 << 20;

    /// <summary>The largest message that may be sent, in bytes.</summary>
    public int MaxSendMessageSize { get; init; } = int.MaxValue - 1024;

    /// <summary>Compresses responses (not payload messages) with gzip for clients that accept it.</summary>
    public bool Compress { get; init; }

    /// <summary>Serves <c>grpc.reflection.v1</c> and <c>v1alpha</c>, so that tools can ask what there is to call.</summary>
    public bool Reflection { get; init; } = true;

    /// <summary>Files whose services reflection should know besides those that the methods' messages come from.</summary>
    public IReadOnlyList<FileDescriptor> ReflectionFiles { get; init; } = [];

    /// <summary>How long a connection may be silent before the server asks whether it still lives.</summary>
    public TimeSpan KeepAlivePingDelay { get; init; } = TimeSpan.FromSeconds(30);

    /// <summary>How long the answer to that may take before the connection is given up.</summary>
    public TimeSpan KeepAlivePingTimeout { get; init; } = TimeSpan.FromSeconds(10);

    /// <summary>Gives a handler's exception its status; null leaves it to the server: UNKNOWN, with type and message.</summary>
    public Func<Exception, GrpcStatus?>? StatusOf { get; init; }

    /// <summary>The clock of deadlines.</summary>
    public TimeProvider Time { get; init; } = TimeProvider.System;

    /// <summary>Where failures of handlers are logged.</summary>
    public ILoggerFactory Logging { get; init; } = NullLoggerFactory.Instance;
}
