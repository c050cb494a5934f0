using System.Net;
using Google.Protobuf;
using Microsoft.Extensions.Logging;

namespace DistTrain.Transport.Grpc;

/// <summary>Handles one call of any kind: reads its requests, writes its responses; returning ends it with OK, throwing with another status.</summary>
public delegate Task GrpcHandler<TRequest, TResponse>(IMessageReader<TRequest> requests, IMessageWriter<TResponse> responses, GrpcServerCall call)
    where TRequest : class, IMessage<TRequest>
    where TResponse : class, IMessage<TResponse>;

/// <summary>
/// A gRPC server over Kestrel: HTTP/2, in the clear or with TLS. Handlers are registered by method before it starts and run
/// concurrently, each call on its own. <c>grpc.health.v1.Health</c> and reflection come with it.
/// </summary>
/// <example><code>
/// await using var server = new GrpcServer(new() { Listen = [new(IPAddress.Loopback, 0)] });
/// server.HandleUnary(Methods.Join, (request, call) =&gt; coordinator.JoinAsync(request, call.Cancellation));
/// server.Handle(Methods.Push, async (segments, replies, call) =&gt; { while (await segments.ReadAsync(sink)) { } });
/// await server.StartAsync();
/// Console.WriteLine(server.Endpoints[0]);
/// </code></example>
public sealed class GrpcServer : IAsyncDisposable
{
    private readonly Dictionary<string, ServerMethod> _methods = new(StringComparer.Ordinal);
    private readonly CallDispatcher _dispatcher;
    private KestrelHost? _host;

    /// <summary>Makes a server that doesn't listen yet.</summary>
    public GrpcServer(GrpcServerOptions options)
    {
        Options = options;
        Log = options.Logging.CreateLogger<GrpcServer>();
        _dispatcher = new(this, _methods);
    }

    /// <summary>What <c>grpc.health.v1.Health</c> says of this server and its services.</summary>
    public GrpcHealth Health { get; } = new();

    /// <summary>Where the server listens, with the ports that it got, in the order of the options. Empty before the start.</summary>
    public IReadOnlyList<IPEndPoint> Endpoints { get; private set; } = [];

    internal GrpcServerOptions Options { get; }

    internal ILogger Log { get; }

    internal IReadOnlyDictionary<string, ServerMethod> Methods => _methods;

    /// <summary>Registers the handler of a method of any kind; the kind's number of messages is seen to.</summary>
    /// <exception cref="InvalidOperationException">The method has a handler, or the server has been started.</exception>
    public void Handle<TRequest, TResponse>(GrpcMethod<TRequest, TResponse> method, GrpcHandler<TRequest, TResponse> handler)
        where TRequest : class, IMessage<TRequest>, new()
        where TResponse : class, IMessage<TResponse>, new()
    {
        if (_host is not null) throw new InvalidOperationException($"{method.FullName}: handlers are registered before the server starts");
        if (!_methods.TryAdd(method.FullName, new ServerMethod<TRequest, TResponse>(method, handler)))
        {
            throw new InvalidOperationException($"{method.FullName} has a handler already");
        }
    }

    /// <summary>Registers the handler of a unary method.</summary>
    /// <inheritdoc cref="Handle" path="/exception"/>
    public void HandleUnary<TRequest, TResponse>(GrpcMethod<TRequest, TResponse> method, Func<TRequest, GrpcServerCall, Task<TResponse>> handler)
        where TRequest : class, IMessage<TRequest>, new()
        where TResponse : class, IMessage<TResponse>, new()
    {
        RequireKind(method, GrpcMethodKind.Unary);
        Handle(method, async (requests, responses, call) => await responses.WriteAsync(await handler((await requests.ReadAsync())!, call)));
    }

    /// <summary>Registers the handler of a server-streaming method.</summary>
    /// <inheritdoc cref="Handle" path="/exception"/>
    public void HandleServerStreaming<TRequest, TResponse>(
        GrpcMethod<TRequest, TResponse> method, Func<TRequest, IMessageWriter<TResponse>, GrpcServerCall, Task> handler)
        where TRequest : class, IMessage<TRequest>, new()
        where TResponse : class, IMessage<TResponse>, new()
    {
        RequireKind(method, GrpcMethodKind.ServerStreaming);
        Handle(method, async (requests, responses, call) => await handler((await requests.ReadAsync())!, responses, call));
    }

    /// <summary>Registers the handler of a client-streaming method.</summary>
    /// <inheritdoc cref="Handle" path="/exception"/>
    public void HandleClientStreaming<TRequest, TResponse>(
        GrpcMethod<TRequest, TResponse> method, Func<IMessageReader<TRequest>, GrpcServerCall, Task<TResponse>> handler)
        where TRequest : class, IMessage<TRequest>, new()
        where TResponse : class, IMessage<TResponse>, new()
    {
        RequireKind(method, GrpcMethodKind.ClientStreaming);
        Handle(method, async (requests, responses, call) => await responses.WriteAsync(await handler(requests, call)));
    }

    /// <summary>Begins to listen.</summary>
    /// <exception cref="Core.DistTrainException">An address can't be listened on, or a TLS file can't be used.</exception>
    public async Task StartAsync(CancellationToken cancellation = default)
    {
        if (_host is not null) throw new InvalidOperationException("the server has been started already");
        HealthService.AddTo(this);
        if (Options.Reflection) ReflectionService.AddTo(this);
        _host = KestrelHost.Create(Options);
        Endpoints = await _host.StartAsync(_dispatcher, cancellation);
    }

    /// <summary>
    /// Takes no new calls, lets those that run end within <paramref name="grace"/>, then cuts their connections, which
    /// cancels their tokens. Returns when no call's handler is waited for any more.
    /// </summary>
    public async Task StopAsync(TimeSpan grace)
    {
        Health.Shutdown();
        if (_host is { } host) await host.StopAsync(grace);
    }

    /// <summary>Stops at once.</summary>
    public async ValueTask DisposeAsync()
    {
        await StopAsync(TimeSpan.Zero);
        if (_host is { } host) await host.DisposeAsync();
    }

    private static void RequireKind(GrpcMethod method, GrpcMethodKind kind)
    {
        if (method.Kind != kind) throw new InvalidOperationException($"{method.FullName} is {method.Kind}, not {kind}");
    }
}
