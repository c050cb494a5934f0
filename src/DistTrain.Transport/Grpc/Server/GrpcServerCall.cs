using System.Net;
using System.Security.Cryptography.X509Certificates;
using Microsoft.AspNetCore.Connections;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Http.Features;

namespace DistTrain.Transport.Grpc;

/// <summary>A call at the server, as its handler sees it. Valid until the handler returns.</summary>
public sealed class GrpcServerCall : ICallState
{
    private const int Idle = 0, Writing = 1, Ended = 2;
    private const int ResetCancel = 8;
    private static readonly TimeSpan LongestTimer = TimeSpan.FromDays(30);
    private readonly CancellationTokenSource _cancellation = new();
    private readonly TimeSpan? _timeout;
    private GrpcMetadata? _requestMetadata;
    private Task _ending = Task.CompletedTask;
    private volatile bool _expired;
    private volatile bool _aborted;
    private bool _torn;
    private int _turn;

    internal GrpcServerCall(GrpcServer server, HttpContext context, GrpcMethod method, TimeSpan? timeout, bool gzipRequests)
    {
        (Server, Context, Method, GzipRequests, _timeout) = (server, context, method, gzipRequests, timeout);
        Compress = server.Options.Compress;
        if (timeout is { } span && span < LongestTimer) Deadline = server.Options.Time.GetUtcNow() + span;
    }

    /// <summary>The method called.</summary>
    public GrpcMethod Method { get; }

    /// <summary>Cancelled when the client cancels or goes away, the deadline passes, or the server stops.</summary>
    public CancellationToken Cancellation => _cancellation.Token;

    /// <summary>When the client gives up, on the server's clock; null for never. The server ends the call then, whatever its handler does.</summary>
    public DateTimeOffset? Deadline { get; }

    /// <summary>The client's address; null where the transport has none.</summary>
    public IPEndPoint? Peer => Context.Connection.RemoteIpAddress is { } address ? new(address, Context.Connection.RemotePort) : null;

    /// <summary>The client's certificate, verified; null without mutual TLS.</summary>
    public X509Certificate2? ClientCertificate => Context.Connection.ClientCertificate;

    /// <summary>The client's headers.</summary>
    public GrpcMetadata RequestMetadata => _requestMetadata ??= ReadMetadata();

    /// <summary>Headers to send ahead of the first response.</summary>
    public GrpcMetadata ResponseHeaders { get; } = [];

    /// <summary>Trailers to send with the status.</summary>
    public GrpcMetadata ResponseTrailers { get; } = [];

    /// <summary>Whether responses are compressed, where the client accepts gzip. Looked at before the first response.</summary>
    public bool Compress { get; set; }

    CancellationToken ICallState.Token => _cancellation.Token;

    internal GrpcServer Server { get; }

    internal HttpContext Context { get; }

    internal bool GzipRequests { get; }

    /// <summary>Sends the headers now, ahead of any response.</summary>
    public async ValueTask SendHeadersAsync()
    {
        BeginWrite();
        try
        {
            PrepareResponse();
            await Context.Response.BodyWriter.FlushAsync(_cancellation.Token);
        }
        catch (Exception e)
        {
            throw await ((ICallState)this).TranslateAsync(e, writing: true, default);
        }
        finally
        {
            EndWrite();
        }
    }

    /// <summary>Breaks the call off without a status: the client sees it cancelled.</summary>
    public void Abort()
    {
        _aborted = true;
        Context.Features.Get<IHttpResetFeature>()?.Reset(ResetCancel);
        _cancellation.Cancel();
    }

    CancellationTokenRegistration ICallState.CancelWith(CancellationToken cancellation) =>
        cancellation == _cancellation.Token ? default : cancellation.UnsafeRegister(static call => ((GrpcServerCall)call!)._cancellation.Cancel(), this);

    ValueTask<Exception> ICallState.TranslateAsync(Exception exception, bool writing, CancellationToken cancellation)
    {
        bool interrupted = exception is OperationCanceledException or IOException or ObjectDisposedException;
        if (!interrupted) return new(exception);
        if (cancellation.IsCancellationRequested) return new(new OperationCanceledException(exception.Message, exception, cancellation));
        return new(_expired ? Expired() : new GrpcException(GrpcStatusCode.Cancelled, "the client cancelled the call or went away", exception));
    }

    internal static void WriteHeaders(HttpResponse response)
    {
        response.ContentType = WireText.ContentType;
        response.Headers["grpc-accept-encoding"] = Gzip.Accepted;
    }

    internal static void WriteStatus(IHeaderDictionary headers, GrpcStatus status, GrpcMetadata trailers)
    {
        headers["grpc-status"] = ((int)status.Code).ToString(System.Globalization.CultureInfo.InvariantCulture);
        if (!string.IsNullOrEmpty(status.Detail)) headers["grpc-message"] = WireText.EncodeMessage(status.Detail);
        foreach (GrpcMetadataEntry entry in trailers) headers.Append(entry.Key, GrpcMetadata.WireValue(entry));
    }

    internal async Task RunAsync(ServerMethod method)
    {
        await using CancellationTokenRegistration aborted = Context.RequestAborted.UnsafeRegister(static call => ((GrpcServerCall)call!).OnAborted(), this);
        ITimer? timer = Deadline is null ? null : Server.Options.Time.CreateTimer(static call => ((GrpcServerCall)call!).OnDeadline(), this, _timeout!.Value, Timeout.InfiniteTimeSpan);
        GrpcStatus status = GrpcStatus.Ok;
        GrpcMetadata trailers = ResponseTrailers;
        try
        {
            await method.InvokeAsync(this);
        }
        catch (Exception e)
        {
            status = StatusOf(e);
            if (e is GrpcException { Trailers.Count: > 0 } failure) trailers = failure.Trailers;
        }

        if (timer is not null) await timer.DisposeAsync();
        if (Interlocked.CompareExchange(ref _turn, Ended, Idle) == Ended) await _ending;
        else if (_torn) Context.Features.Get<IHttpResetFeature>()?.Reset(ResetCancel);
        else if (!_aborted) WriteEnd(_expired ? Expired().Status : status, trailers);
    }

    /// <summary>Takes the turn to write.</summary>
    internal void BeginWrite()
    {
        if (_expired) throw Expired();
        int turn = Interlocked.CompareExchange(ref _turn, Writing, Idle);
        if (turn == Writing) throw new InvalidOperationException("a write of this call is under way: one at a time");
        if (turn == Ended) throw _expired ? Expired() : new InvalidOperationException("the call has ended");
    }

    /// <summary>Gives the turn back. A write that was cancelled may have left half a message behind.</summary>
    internal void EndWrite()
    {
        if (_cancellation.IsCancellationRequested) _torn = Context.Response.HasStarted;
        Volatile.Write(ref _turn, Idle);
    }

    /// <summary>Headers of the response, before the first bytes of it; true when its messages are to be compressed.</summary>
    internal bool PrepareResponse()
    {
        HttpResponse response = Context.Response;
        bool gzip = Compress && Context.Request.Headers["grpc-accept-encoding"].ToString().Split(',').Any(e => e.Trim() == Gzip.Name);
        if (response.HasStarted) return response.Headers.ContainsKey("grpc-encoding");
        WriteHeaders(response);
        if (gzip) response.Headers["grpc-encoding"] = Gzip.Name;
        foreach (GrpcMetadataEntry entry in ResponseHeaders) response.Headers.Append(entry.Key, GrpcMetadata.WireValue(entry));
        return gzip;
    }

    private GrpcStatus StatusOf(Exception exception)
    {
        switch (exception)
        {
            case GrpcException e:
                return e.Status;
            case OperationCanceledException when _cancellation.IsCancellationRequested:
                return new(GrpcStatusCode.Cancelled, "the call was cancelled");
            default:
                if (Server.Options.StatusOf?.Invoke(exception) is { } status) return status;
                GrpcLog.HandlerFailed(Server.Log, Method.FullName, exception);
                return new(GrpcStatusCode.Unknown, $"{exception.GetType().Name}: {exception.Message}");
        }
    }

    private void WriteEnd(GrpcStatus status, GrpcMetadata trailers)
    {
        HttpResponse response = Context.Response;
        if (!response.HasStarted && status.Code != GrpcStatusCode.Ok)
        {
            WriteHeaders(response);
            WriteStatus(response.Headers, status, trailers);
            return;
        }

        if (!response.HasStarted) PrepareResponse();
        WriteStatus(Context.Features.GetRequiredFeature<IHttpResponseTrailersFeature>().Trailers, status, trailers);
    }

    private void OnAborted()
    {
        _aborted = true;
        _cancellation.Cancel();
    }

    /// <summary>Ends the response at once when no write is under way; the write that is ends with the token.</summary>
    private void OnDeadline()
    {
        _expired = true;
        if (Interlocked.CompareExchange(ref _turn, Ended, Idle) == Idle) _ending = CompleteAsync();
        _cancellation.Cancel();
    }

    private async Task CompleteAsync()
    {
        try
        {
            if (_aborted) return;
            WriteEnd(Expired().Status, ResponseTrailers);
            await Context.Response.CompleteAsync();
        }
        catch (Exception e) when (e is IOException or ConnectionAbortedException or InvalidOperationException or OperationCanceledException)
        {
            GrpcLog.EndLost(Server.Log, Method.FullName, e);
        }
    }

    private static GrpcException Expired() => new(GrpcStatusCode.DeadlineExceeded, "the deadline passed before the call was done");

    private GrpcMetadata ReadMetadata()
    {
        GrpcMetadata metadata = [];
        foreach ((string key, Microsoft.Extensions.Primitives.StringValues values) in Context.Request.Headers)
        {
            foreach (string? value in values) metadata.AddWire(key, value ?? "");
        }

        return metadata;
    }
}
