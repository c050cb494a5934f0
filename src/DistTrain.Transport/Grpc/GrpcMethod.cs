using Google.Protobuf;
using Google.Protobuf.Reflection;

namespace DistTrain.Transport.Grpc;

/// <summary>How many messages go which way.</summary>
public enum GrpcMethodKind
{
    /// <summary>One request, one response.</summary>
    Unary,

    /// <summary>One request, any number of responses.</summary>
    ServerStreaming,

    /// <summary>Any number of requests, one response.</summary>
    ClientStreaming,

    /// <summary>Any number both ways, independent of each other.</summary>
    Duplex,
}

/// <summary>A method of a service: its name and kind. See <see cref="GrpcMethod{TRequest, TResponse}"/>.</summary>
public abstract class GrpcMethod
{
    private protected GrpcMethod(GrpcMethodKind kind, string fullName)
    {
        string[] parts = fullName.Split('/');
        if (parts is not ["", { Length: > 0 }, { Length: > 0 }])
        {
            throw new ArgumentException($"method '{fullName}': a full name looks like /package.Service/Method", nameof(fullName));
        }

        (Kind, FullName, Service, Name) = (kind, fullName, parts[1], parts[2]);
    }

    /// <summary>How many messages go which way.</summary>
    public GrpcMethodKind Kind { get; }

    /// <summary><c>/package.Service/Method</c>: the path on the wire.</summary>
    public string FullName { get; }

    /// <summary><c>package.Service</c>.</summary>
    public string Service { get; }

    /// <summary><c>Method</c>.</summary>
    public string Name { get; }

    /// <summary>The largest message that either side takes, where the channel's or the server's own limit is not lower still: what is made of a message takes more memory than it has bytes.</summary>
    public int MostBytes { get; init; } = int.MaxValue;

    internal bool SingleRequest => Kind is GrpcMethodKind.Unary or GrpcMethodKind.ServerStreaming;

    internal bool SingleResponse => Kind is GrpcMethodKind.Unary or GrpcMethodKind.ClientStreaming;

    internal abstract MessageDescriptor RequestType { get; }

    internal abstract MessageDescriptor ResponseType { get; }
}

/// <summary>
/// A method with the types of its messages, shared by client and server. Immutable; keep one per method in a static field.
/// </summary>
/// <remarks>
/// A message whose field with the highest number is a singular <c>bytes payload</c> is a <em>payload message</em>: besides
/// the ordinary way it can be written from and read into memory of the caller without a copy in between
/// (<see cref="IMessageWriter{T}.WriteAsync(T, NativeBytes, CancellationToken)"/>, <see cref="IPayloadSink{T}"/>). On the
/// wire it is the same protobuf message to everyone.
/// </remarks>
/// <typeparam name="TRequest">The generated request message.</typeparam>
/// <typeparam name="TResponse">The generated response message.</typeparam>
/// <example><code>
/// public static readonly GrpcMethod&lt;JoinRequest, JoinReply&gt; Join = new(GrpcMethodKind.Unary, "/disttrain.v1.Coordinator/Join");
/// </code></example>
public sealed class GrpcMethod<TRequest, TResponse> : GrpcMethod
    where TRequest : class, IMessage<TRequest>, new()
    where TResponse : class, IMessage<TResponse>, new()
{
    /// <summary>Names a method, as <c>/package.Service/Method</c>.</summary>
    /// <exception cref="ArgumentException">The name has another form.</exception>
    public GrpcMethod(GrpcMethodKind kind, string fullName)
        : base(kind, fullName)
    {
    }

    /// <summary>Takes name and kind from a generated service descriptor.</summary>
    /// <exception cref="ArgumentException">The descriptor's messages are others than the type arguments.</exception>
    public GrpcMethod(MethodDescriptor method)
        : base(KindOf(method), $"/{method.Service.FullName}/{method.Name}")
    {
        if (method.InputType.ClrType != typeof(TRequest) || method.OutputType.ClrType != typeof(TResponse))
        {
            throw new ArgumentException($"{FullName} takes {method.InputType.FullName} and gives {method.OutputType.FullName}", nameof(method));
        }
    }

    internal override MessageDescriptor RequestType => MessageCodec<TRequest>.Instance.Descriptor;

    internal override MessageDescriptor ResponseType => MessageCodec<TResponse>.Instance.Descriptor;

    private static GrpcMethodKind KindOf(MethodDescriptor method) => (method.IsClientStreaming, method.IsServerStreaming) switch
    {
        (false, false) => GrpcMethodKind.Unary,
        (false, true) => GrpcMethodKind.ServerStreaming,
        (true, false) => GrpcMethodKind.ClientStreaming,
        _ => GrpcMethodKind.Duplex,
    };
}
