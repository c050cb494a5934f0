namespace DistTrain.Transport.Grpc;

/// <summary>How a <see cref="GrpcChannel"/> connects and what it puts up with.</summary>
public sealed record GrpcChannelOptions
{
    /// <summary>TLS for <c>https</c> addresses; null trusts the system's authorities.</summary>
    public GrpcClientTls? Tls { get; init; }

    /// <summary>Goes with every call as <c>authorization: Bearer</c>. Without TLS it can be read on the way.</summary>
    public string? BearerToken { get; init; }

    /// <summary>The most time a connection may take to be made; then calls end with UNAVAILABLE.</summary>
    public TimeSpan ConnectTimeout { get; init; } = TimeSpan.FromSeconds(5);

    /// <summary>The largest message that may come, in bytes, compressed or not. A larger one ends its call with RESOURCE_EXHAUSTED.</summary>
    public int MaxReceiveMessageSize { get; init; } = 128 << 20;

    /// <summary>The largest message that may be sent, in bytes.</summary>
    public int MaxSendMessageSize { get; init; } = int.MaxValue - 1024;

    /// <summary>
    /// Bytes that the server may send on a stream ahead of what has been read, to begin with: HttpClient widens the window
    /// as far as 16 MiB where the network needs it. 64 KiB to 16 MiB.
    /// </summary>
    public int StreamWindowSize { get; init; } = 1 << 20;

    /// <summary>Opens a further connection when the server's limit of streams is reached.</summary>
    public bool MultipleConnections { get; init; } = true;

    /// <summary>
    /// How long a connection with calls on it may be silent before the channel asks whether it still lives; at least 1 s.
    /// Other servers than ours may take offence at less than 5 minutes.
    /// </summary>
    public TimeSpan KeepAlivePingDelay { get; init; } = TimeSpan.FromSeconds(30);

    /// <summary>How long the answer to that may take before the connection is given up; its calls end with UNAVAILABLE. At least 1 s.</summary>
    public TimeSpan KeepAlivePingTimeout { get; init; } = TimeSpan.FromSeconds(10);

    /// <summary>The clock of deadlines.</summary>
    public TimeProvider Time { get; init; } = TimeProvider.System;
}
