using Google.Protobuf;

namespace DistTrain.Transport.Grpc;

/// <summary>What a call may be told.</summary>
public sealed record GrpcCallOptions
{
    /// <summary>The most time that the call may take, told to the server and enforced on both sides; null is for ever.</summary>
    public TimeSpan? Timeout { get; init; }

    /// <summary>Headers for the server.</summary>
    public GrpcMetadata? Metadata { get; init; }

    /// <summary>Compresses requests with gzip; payload messages stay as they are.</summary>
    public bool Compress { get; init; }

    /// <summary>Cancels the call.</summary>
    public CancellationToken Cancellation { get; init; }

    internal static GrpcCallOptions None { get; } = new();

    internal TimeSpan? Limit => Timeout == System.Threading.Timeout.InfiniteTimeSpan ? null : Timeout;
}

/// <summary>
/// The client's port: begins calls to one server. <see cref="GrpcChannel"/> implements it over HttpClient. Thread-safe.
/// </summary>
public interface IGrpcInvoker
{
    /// <summary>Begins a call of any kind. It must be disposed, which cancels it unless it has ended.</summary>
    IGrpcCall<TRequest, TResponse> Open<TRequest, TResponse>(GrpcMethod<TRequest, TResponse> method, GrpcCallOptions? options = null)
        where TRequest : class, IMessage<TRequest>, new()
        where TResponse : class, IMessage<TResponse>, new();

    /// <summary>
    /// Begins a call with <paramref name="request"/> as its only request: unary or server-streaming. It must be
    /// disposed, which cancels it unless it has ended. The request may be changed once this returns.
    /// </summary>
    IGrpcCall<TRequest, TResponse> Send<TRequest, TResponse>(GrpcMethod<TRequest, TResponse> method, TRequest request, GrpcCallOptions? options = null)
        where TRequest : class, IMessage<TRequest>, new()
        where TResponse : class, IMessage<TResponse>, new();
}

/// <summary>A call at the client. Reads and writes may overlap; all other members are thread-safe.</summary>
/// <typeparam name="TRequest">The request message.</typeparam>
/// <typeparam name="TResponse">The response message.</typeparam>
public interface IGrpcCall<TRequest, TResponse> : IDisposable
    where TRequest : class, IMessage<TRequest>, new()
    where TResponse : class, IMessage<TResponse>, new()
{
    /// <summary>The requests. A write after the server has ended the call throws the call's status.</summary>
    IMessageWriter<TRequest> Requests { get; }

    /// <summary>The responses, ended by the call's status.</summary>
    IMessageReader<TResponse> Responses { get; }

    /// <summary>The server's trailers; empty until the call has ended.</summary>
    GrpcMetadata Trailers { get; }

    /// <summary>The headers that the server sent ahead of its responses.</summary>
    /// <exception cref="GrpcException">The call ended without any.</exception>
    Task<GrpcMetadata> GetHeadersAsync();

    /// <summary>Says that no more requests come. Needed for every call begun with <see cref="IGrpcInvoker.Open"/>.</summary>
    void CompleteRequests();

    /// <summary>Ends the call from here; the server's token is cancelled.</summary>
    void Cancel();
}

/// <summary>The usual ways to use an <see cref="IGrpcInvoker"/>.</summary>
public static class GrpcInvokerExtensions
{
    /// <summary>Calls a unary method.</summary>
    /// <exception cref="GrpcException">The call ended with another status than OK.</exception>
    /// <exception cref="OperationCanceledException">The options' token was cancelled.</exception>
    /// <example><code>JoinReply reply = await channel.UnaryAsync(Methods.Join, request, new() { Timeout = TimeSpan.FromSeconds(5) });</code></example>
    public static async Task<TResponse> UnaryAsync<TRequest, TResponse>(
        this IGrpcInvoker invoker, GrpcMethod<TRequest, TResponse> method, TRequest request, GrpcCallOptions? options = null)
        where TRequest : class, IMessage<TRequest>, new()
        where TResponse : class, IMessage<TResponse>, new()
    {
        if (method.Kind != GrpcMethodKind.Unary) throw new InvalidOperationException($"{method.FullName} is {method.Kind}, not unary");
        using IGrpcCall<TRequest, TResponse> call = invoker.Send(method, request, options);
        return (await call.Responses.ReadAsync())!;
    }

    /// <summary>Ends the requests of a client-streaming call and waits for its response.</summary>
    /// <exception cref="GrpcException">The call ended with another status than OK.</exception>
    /// <exception cref="OperationCanceledException">The options' token was cancelled.</exception>
    public static async Task<TResponse> FinishAsync<TRequest, TResponse>(this IGrpcCall<TRequest, TResponse> call)
        where TRequest : class, IMessage<TRequest>, new()
        where TResponse : class, IMessage<TResponse>, new()
    {
        call.CompleteRequests();
        return await call.Responses.ReadAsync() ?? throw new InvalidOperationException("the call's only response was read before");
    }

    /// <summary>All further messages, as an async stream.</summary>
    public static async IAsyncEnumerable<T> ReadAllAsync<T>(
        this IMessageReader<T> reader, [System.Runtime.CompilerServices.EnumeratorCancellation] CancellationToken cancellation = default)
        where T : class, IMessage<T>
    {
        while (await reader.ReadAsync(cancellation) is { } message) yield return message;
    }
}
