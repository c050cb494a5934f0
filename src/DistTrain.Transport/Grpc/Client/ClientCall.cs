using System.Net;
using Google.Protobuf;

namespace DistTrain.Transport.Grpc;

/// <summary>One call over HTTP/2: a POST whose body is the requests and whose response body is the responses.</summary>
internal sealed class ClientCall<TRequest, TResponse> : IGrpcCall<TRequest, TResponse>, ICallState
    where TRequest : class, IMessage<TRequest>, new()
    where TResponse : class, IMessage<TResponse>, new()
{
    private static readonly TimeSpan LongestTimer = TimeSpan.FromDays(30);
    private readonly GrpcChannel _channel;
    private readonly GrpcMethod _method;
    private readonly GrpcCallOptions _options;
    private readonly CancellationTokenSource _cancellation = new();
    private readonly CancellationTokenRegistration _registration;
    private readonly CancellationTokenRegistration _channelClosed;
    private readonly ITimer? _timer;
    private readonly RequestBody _body;
    private readonly bool _sent;
    private readonly Reader _reader;
    private readonly Task<HttpResponseMessage> _response;
    private volatile GrpcException? _end;
    private volatile bool _expired;
    private volatile bool _succeeded;
    private bool _completed;
    private int _disposed;

    public ClientCall(GrpcChannel channel, GrpcMethod method, GrpcCallOptions options, TRequest? onlyRequest)
    {
        (_channel, _method, _options, _sent) = (channel, method, options, onlyRequest is not null);
        options.Cancellation.ThrowIfCancellationRequested();
        var encoder = new MessageEncoder<TRequest>(channel.Options.MaxSendMessageSize, options.Compress);
        _body = onlyRequest is null ? new() : new(encoder.Frame(onlyRequest));
        _reader = new(this);
        Requests = new Writer(this, encoder);
        _registration = options.Cancellation.UnsafeRegister(static call => ((ClientCall<TRequest, TResponse>)call!).Cancel(), this);
        _channelClosed = channel.Closed.UnsafeRegister(static call => ((ClientCall<TRequest, TResponse>)call!).Cancel(), this);
        if (options.Limit is { } timeout && timeout < LongestTimer)
        {
            if (timeout <= TimeSpan.Zero) OnDeadline();
            else _timer = channel.Options.Time.CreateTimer(static call => ((ClientCall<TRequest, TResponse>)call!).OnDeadline(), this, timeout, Timeout.InfiniteTimeSpan);
        }

        _response = SendAsync();

        // A cancelled call resets its stream even when nobody reads: that is what disposing the response does.
        _cancellation.Token.UnsafeRegister(static call => ((ClientCall<TRequest, TResponse>)call!).Release(), this);
    }

    public IMessageWriter<TRequest> Requests { get; }

    public IMessageReader<TResponse> Responses => _reader;

    public GrpcMetadata Trailers { get; private set; } = GrpcMetadata.Empty;

    public CancellationToken Token => _cancellation.Token;

    public async Task<GrpcMetadata> GetHeadersAsync()
    {
        try
        {
            return ResponseStatus.Metadata((await GetResponseAsync()).Headers);
        }
        catch (Exception e)
        {
            throw await TranslateAsync(e, writing: false, default);
        }
    }

    public void CompleteRequests()
    {
        _completed = true;
        _body.Complete();
    }

    public void Cancel() => _cancellation.Cancel();

    public void Dispose()
    {
        if (Interlocked.Exchange(ref _disposed, 1) == 1) return;
        _timer?.Dispose();
        _registration.Dispose();
        _channelClosed.Dispose();
        if (!_succeeded) _cancellation.Cancel();
        _body.Close();
        _reader.Dispose();
        Release();
    }

    public CancellationTokenRegistration CancelWith(CancellationToken cancellation) =>
        cancellation == _options.Cancellation ? default : cancellation.UnsafeRegister(static call => ((ClientCall<TRequest, TResponse>)call!).Cancel(), this);

    public async ValueTask<Exception> TranslateAsync(Exception exception, bool writing, CancellationToken cancellation)
    {
        if (!TransportErrors.Interrupts(exception))
        {
            // A message that can't be written leaves the call as it was; one that can't be read ends it here and now.
            if (!writing) Cancel();
            if (!writing && exception is GrpcException end) _end = end;
            return exception;
        }

        if (_expired) return _end = new(GrpcStatusCode.DeadlineExceeded, $"{_method.FullName} took longer than {_options.Timeout}", exception);
        if (cancellation.IsCancellationRequested) return new OperationCanceledException(exception.Message, exception, cancellation);
        if (_options.Cancellation.IsCancellationRequested) return new OperationCanceledException(exception.Message, exception, _options.Cancellation);
        if (_end is { } known) return new GrpcException(known.Status, known.Trailers, exception);
        if (_cancellation.IsCancellationRequested) return new GrpcException(GrpcStatusCode.Cancelled, _channel.Closed.IsCancellationRequested ? "the channel was closed" : "the call was cancelled here", exception);
        return writing ? await WhyNoMoreRequestsAsync(exception) : _end = TransportErrors.ToGrpc(exception, _channel.Address, _channel.Options.ConnectTimeout);
    }

    /// <summary>A broken request stream means that the response is decided: it knows why.</summary>
    private async Task<Exception> WhyNoMoreRequestsAsync(Exception exception)
    {
        try
        {
            await GetResponseAsync();
            return new GrpcException(GrpcStatusCode.Cancelled, "the server takes no more requests; its status comes with the responses", exception);
        }
        catch (Exception e)
        {
            return e as GrpcException ?? await TranslateAsync(e, writing: false, default);
        }
    }

    private async Task<HttpResponseMessage> SendAsync()
    {
        var request = new HttpRequestMessage(HttpMethod.Post, new Uri(_channel.Address, _method.FullName))
        {
            Version = HttpVersion.Version20,
            VersionPolicy = HttpVersionPolicy.RequestVersionExact,
            Content = _body,
        };
        RequestHeaders.Write(request, _channel, _options);
        try
        {
            return await _channel.SendAsync(request, _cancellation.Token);
        }
        catch
        {
            _body.Close();
            throw;
        }
    }

    /// <summary>The response, once its headers are there and say that messages or a regular end will come.</summary>
    private async Task<HttpResponseMessage> GetResponseAsync()
    {
        HttpResponseMessage response = await _response;
        try
        {
            ResponseStatus.Check(response);
            return response;
        }
        catch (GrpcException e)
        {
            (_end, Trailers) = (e, e.Trailers);
            _body.Close();
            throw;
        }
    }

    private void OnEnd()
    {
        (GrpcStatus status, Trailers) = ResponseStatus.AtEnd(_response.Result);
        if (status.Code != GrpcStatusCode.Ok) throw _end = new(status, Trailers);
        _succeeded = true;
        _timer?.Dispose();
    }

    private void OnDeadline()
    {
        _expired = true;
        _cancellation.Cancel();
    }

    private void Release() => _ = _response.ContinueWith(
        static response =>
        {
            if (response.IsCompletedSuccessfully) response.Result.Dispose();
            else _ = response.Exception;
        },
        CancellationToken.None,
        TaskContinuationOptions.ExecuteSynchronously,
        TaskScheduler.Default);

    private sealed class Reader(ClientCall<TRequest, TResponse> call) : CallReader<TResponse>(call, call._method.SingleResponse, "response")
    {
        protected override async ValueTask<MessageDecoder<TResponse>> OpenAsync()
        {
            HttpResponseMessage response = await call.GetResponseAsync();
            bool gzip = ResponseStatus.UsesGzip(response);
            Stream stream = await response.Content.ReadAsStreamAsync(call.Token);
            return new(new StreamSource(stream), Math.Min(call._channel.Options.MaxReceiveMessageSize, call._method.MostBytes), gzip);
        }

        protected override void OnEnd() => call.OnEnd();
    }

    private sealed class Writer(ClientCall<TRequest, TResponse> call, MessageEncoder<TRequest> encoder) : CallWriter<TRequest>(call)
    {
        private ByteTarget? _target;
        private bool _wroteOne;
        private int _turn;

        protected override void Begin()
        {
            if (call._sent || (_wroteOne && call._method.SingleRequest)) throw new InvalidOperationException($"{call._method.FullName} has one request, and it has been written");
            if (call._completed) throw new InvalidOperationException("the requests have been completed");
            if (Interlocked.Exchange(ref _turn, 1) == 1) throw new InvalidOperationException("a write of this call is under way: one at a time");
        }

        protected override void End()
        {
            _wroteOne = true;
            Volatile.Write(ref _turn, 0);
        }

        protected override async ValueTask<(ByteTarget Target, MessageEncoder<TRequest> Encoder)> OpenAsync()
        {
            if (call._body.IsCompleted) throw new IOException("the call has ended");
            _target ??= new StreamTarget(await call._body.Opened.WaitAsync(call.Token));
            return (_target, encoder);
        }
    }
}
