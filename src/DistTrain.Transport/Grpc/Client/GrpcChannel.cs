using System.Net;
using System.Net.Http.Headers;
using System.Net.Security;
using Google.Protobuf;

namespace DistTrain.Transport.Grpc;

/// <summary>
/// Calls to one server over HttpClient's HTTP/2. Connects at the first call, and again when the connection was lost; a call
/// that can't get a connection ends with UNAVAILABLE. Thread-safe; disposing it breaks off the calls that run.
/// </summary>
/// <example><code>
/// using var channel = new GrpcChannel("http://127.0.0.1:5000", new() { BearerToken = token });
/// JoinReply reply = await channel.UnaryAsync(Methods.Join, new JoinRequest { … });
/// using var push = channel.Open(Methods.Push);
/// await push.Requests.WriteAsync(new Segment { Bucket = 3 }, new NativeBytes(address, length));
/// PushReply done = await push.FinishAsync();
/// </code></example>
public sealed class GrpcChannel : IGrpcInvoker, IDisposable
{
    private readonly HttpMessageInvoker _http;
    private readonly CancellationTokenSource _closed = new();

    /// <summary>Makes a channel to <paramref name="address"/>, <c>http://host:port</c> or <c>https://host:port</c>.</summary>
    /// <exception cref="ArgumentException">The address has another form.</exception>
    /// <exception cref="Core.DistTrainException">A TLS file can't be used.</exception>
    public GrpcChannel(string address, GrpcChannelOptions? options = null)
    {
        Options = options ?? new();
        if (!Uri.TryCreate(address, UriKind.Absolute, out Uri? uri) || uri.Scheme is not ("http" or "https") || uri.PathAndQuery != "/")
        {
            throw new ArgumentException($"address '{address}': expected http://host:port or https://host:port", nameof(address));
        }

        Address = uri;
        Authorization = Options.BearerToken is { } token ? new AuthenticationHeaderValue("Bearer", token) : null;
        _http = new HttpMessageInvoker(Handler(Options));
    }

    /// <summary>The server's address.</summary>
    public Uri Address { get; }

    internal GrpcChannelOptions Options { get; }

    internal AuthenticationHeaderValue? Authorization { get; }

    /// <summary>HttpClient lets requests run on when it is disposed; a channel doesn't.</summary>
    internal CancellationToken Closed => _closed.Token;

    /// <inheritdoc/>
    public IGrpcCall<TRequest, TResponse> Open<TRequest, TResponse>(GrpcMethod<TRequest, TResponse> method, GrpcCallOptions? options = null)
        where TRequest : class, IMessage<TRequest>, new()
        where TResponse : class, IMessage<TResponse>, new() =>
        new ClientCall<TRequest, TResponse>(this, method, options ?? GrpcCallOptions.None, null);

    /// <inheritdoc/>
    public IGrpcCall<TRequest, TResponse> Send<TRequest, TResponse>(GrpcMethod<TRequest, TResponse> method, TRequest request, GrpcCallOptions? options = null)
        where TRequest : class, IMessage<TRequest>, new()
        where TResponse : class, IMessage<TResponse>, new()
    {
        if (!method.SingleRequest) throw new InvalidOperationException($"{method.FullName} is {method.Kind}: it takes a stream of requests");
        return new ClientCall<TRequest, TResponse>(this, method, options ?? GrpcCallOptions.None, request);
    }

    /// <summary>Closes the connections and breaks off the calls that run.</summary>
    public void Dispose()
    {
        _closed.Cancel();
        _http.Dispose();
    }

    internal Task<HttpResponseMessage> SendAsync(HttpRequestMessage request, CancellationToken cancellation) => _http.SendAsync(request, cancellation);

    private static SocketsHttpHandler Handler(GrpcChannelOptions options)
    {
        var handler = new SocketsHttpHandler
        {
            UseProxy = false,
            UseCookies = false,
            AllowAutoRedirect = false,
            AutomaticDecompression = DecompressionMethods.None,
            ActivityHeadersPropagator = null,
            ConnectTimeout = options.ConnectTimeout,
            PooledConnectionIdleTimeout = Timeout.InfiniteTimeSpan,
            EnableMultipleHttp2Connections = options.MultipleConnections,
            InitialHttp2StreamWindowSize = options.StreamWindowSize,
            KeepAlivePingDelay = options.KeepAlivePingDelay,
            KeepAlivePingTimeout = options.KeepAlivePingTimeout,
            KeepAlivePingPolicy = HttpKeepAlivePingPolicy.WithActiveRequests,
        };
        if (options.Tls is { } tls)
        {
            SslClientAuthenticationOptions ssl = handler.SslOptions;
            if (tls.AuthorityFile is { } authority) ssl.CertificateChainPolicy = PemFiles.Trust(authority);
            if (tls.CertificateFile is { } certificate)
            {
                string key = tls.KeyFile ?? throw new ArgumentException($"the client certificate {certificate} comes without a key file", nameof(options));
                ssl.ClientCertificateContext = PemFiles.Identity(certificate, key);
            }
        }

        return handler;
    }
}
