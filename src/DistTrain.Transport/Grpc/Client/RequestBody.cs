using System.Net;

namespace DistTrain.Transport.Grpc;

/// <summary>
/// The body of a request: either one frame known beforehand, or a stream that is written as messages come. HTTP/2 sends it
/// while the response is already being read.
/// </summary>
internal sealed class RequestBody : HttpContent
{
    private readonly ReadOnlyMemory<byte> _frame;
    private readonly TaskCompletionSource<Stream>? _opened;
    private readonly TaskCompletionSource _completed = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private int _started;

    /// <summary>A body of messages to come.</summary>
    public RequestBody() => _opened = new(TaskCreationOptions.RunContinuationsAsynchronously);

    /// <summary>A body of one frame.</summary>
    public RequestBody(ReadOnlyMemory<byte> frame)
    {
        _frame = frame;
        _completed.SetResult();
    }

    /// <summary>The stream, once the headers are sent.</summary>
    public Task<Stream> Opened => _opened!.Task;

    /// <summary>True when no more messages may be written.</summary>
    public bool IsCompleted => _completed.Task.IsCompleted;

    /// <summary>No more messages come.</summary>
    public void Complete() => _completed.TrySetResult();

    /// <summary>The call is over: whoever waits for the stream is released.</summary>
    public void Close()
    {
        if (_opened is not null)
        {
            _opened.TrySetException(new IOException("the call ended before its requests were written"));
            _ = _opened.Task.Exception;
        }

        _completed.TrySetResult();
    }

    protected override Task SerializeToStreamAsync(Stream stream, TransportContext? context) => SerializeToStreamAsync(stream, context, default);

    protected override async Task SerializeToStreamAsync(Stream stream, TransportContext? context, CancellationToken cancellationToken)
    {
        if (_opened is null)
        {
            await stream.WriteAsync(_frame, cancellationToken);
            return;
        }

        try
        {
            // HttpClient tries again on a new connection when the server closed the old one before it took the request:
            // fine as long as no message can have been written.
            if (Interlocked.Exchange(ref _started, 1) == 1) throw new IOException("the connection was closed while the call began");
            await stream.FlushAsync(cancellationToken);
            _opened.TrySetResult(stream);
            await _completed.Task.WaitAsync(cancellationToken);
        }
        catch
        {
            Close();
            throw;
        }
    }

    protected override bool TryComputeLength(out long length)
    {
        length = _frame.Length;
        return false;
    }
}
