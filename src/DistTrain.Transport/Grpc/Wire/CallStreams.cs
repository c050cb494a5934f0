using System.Runtime.CompilerServices;
using Google.Protobuf;

namespace DistTrain.Transport.Grpc;

/// <summary>What the two streams of a call share, on either side.</summary>
internal interface ICallState
{
    /// <summary>Cancelled with the call.</summary>
    CancellationToken Token { get; }

    /// <summary>Cancels the call with a token of one of its reads or writes.</summary>
    CancellationTokenRegistration CancelWith(CancellationToken cancellation);

    /// <summary>What a failed read or write throws.</summary>
    ValueTask<Exception> TranslateAsync(Exception exception, bool writing, CancellationToken cancellation);
}

/// <summary>Reads the messages of a call: one at a time, every failure final.</summary>
internal abstract class CallReader<T>(ICallState state, bool single, string noun) : IMessageReader<T>, IDisposable
    where T : class, IMessage<T>, new()
{
    private const int Idle = 0, Reading = 1, Disposed = 2, DisposedWhileReading = 3;
    private MessageDecoder<T>? _decoder;
    private Exception? _failure;
    private bool _ended;
    private int _turn;

    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder<>))]
    public async ValueTask<T?> ReadAsync(CancellationToken cancellation)
    {
        if (!Begin()) return null;
        CancellationTokenRegistration registration = default;
        try
        {
            registration = state.CancelWith(cancellation);
            MessageDecoder<T> decoder = _decoder ??= await OpenAsync();
            T? message = await decoder.ReadAsync(state.Token);
            await AfterReadAsync(decoder, message is not null);
            return message;
        }
        catch (Exception e)
        {
            throw await FailAsync(e, cancellation);
        }
        finally
        {
            End(registration);
        }
    }

    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder<>))]
    public async ValueTask<bool> ReadAsync(IPayloadSink<T> sink, CancellationToken cancellation)
    {
        if (!Begin()) return false;
        CancellationTokenRegistration registration = default;
        try
        {
            registration = state.CancelWith(cancellation);
            MessageDecoder<T> decoder = _decoder ??= await OpenAsync();
            bool more = await decoder.ReadAsync(sink, state.Token);
            await AfterReadAsync(decoder, more);
            return more;
        }
        catch (Exception e)
        {
            throw await FailAsync(e, cancellation);
        }
        finally
        {
            End(registration);
        }
    }

    /// <summary>Buffers go back to their pool now, or when the read that goes on ends.</summary>
    public void Dispose()
    {
        if (Interlocked.CompareExchange(ref _turn, Disposed, Idle) == Idle) _decoder?.Dispose();
        else Interlocked.CompareExchange(ref _turn, DisposedWhileReading, Reading);
    }

    /// <summary>The body, once it can be read.</summary>
    protected abstract ValueTask<MessageDecoder<T>> OpenAsync();

    /// <summary>The stream came to its regular end; throws when the call did not.</summary>
    protected virtual void OnEnd()
    {
    }

    private async ValueTask AfterReadAsync(MessageDecoder<T> decoder, bool came)
    {
        if (came && !single) return;
        if (came) await decoder.ReadEndAsync(noun, state.Token);
        OnEnd();
        if (!came && single) throw new GrpcException(GrpcStatusCode.Unimplemented, $"no {noun} came to a method that has one");
        _ended = true;
    }

    private async ValueTask<Exception> FailAsync(Exception exception, CancellationToken cancellation) =>
        _failure = await state.TranslateAsync(exception, writing: false, cancellation);

    private bool Begin()
    {
        int turn = Interlocked.CompareExchange(ref _turn, Reading, Idle);
        if (turn is Reading or DisposedWhileReading) throw new InvalidOperationException("a read of this call is under way: one at a time");
        ObjectDisposedException.ThrowIf(turn == Disposed, this);
        if (_failure is null && !_ended) return true;
        End(default);
        return _failure is null ? false : throw Again(_failure);
    }

    private void End(CancellationTokenRegistration registration)
    {
        registration.Dispose();
        if (Interlocked.CompareExchange(ref _turn, Idle, Reading) == Reading) return;
        _turn = Disposed;
        _decoder?.Dispose();
    }

    /// <summary>A thrown exception collects stack traces: give out a fresh one each time.</summary>
    private static Exception Again(Exception failure) => failure switch
    {
        GrpcException e => new GrpcException(e.Status, e.Trailers, e.InnerException),
        OperationCanceledException e => new OperationCanceledException(e.Message, e, e.CancellationToken),
        _ => new InvalidOperationException("an earlier read of this call failed", failure),
    };
}

/// <summary>Writes the messages of a call: one at a time.</summary>
internal abstract class CallWriter<T>(ICallState state) : IMessageWriter<T>
    where T : class, IMessage<T>, new()
{
    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder))]
    public async ValueTask WriteAsync(T message, CancellationToken cancellation)
    {
        Begin();
        CancellationTokenRegistration registration = default;
        try
        {
            registration = state.CancelWith(cancellation);
            (ByteTarget target, MessageEncoder<T> encoder) = await OpenAsync();
            await encoder.WriteAsync(target, message, state.Token);
        }
        catch (Exception e)
        {
            throw await state.TranslateAsync(e, writing: true, cancellation);
        }
        finally
        {
            registration.Dispose();
            End();
        }
    }

    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder))]
    public async ValueTask WriteAsync(T header, NativeBytes payload, CancellationToken cancellation)
    {
        Begin();
        CancellationTokenRegistration registration = default;
        try
        {
            registration = state.CancelWith(cancellation);
            (ByteTarget target, MessageEncoder<T> encoder) = await OpenAsync();
            await encoder.WriteAsync(target, header, payload, state.Token);
        }
        catch (Exception e)
        {
            throw await state.TranslateAsync(e, writing: true, cancellation);
        }
        finally
        {
            registration.Dispose();
            End();
        }
    }

    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder))]
    public async ValueTask WriteAsync(T header, ReadOnlyMemory<byte> payload, CancellationToken cancellation)
    {
        Begin();
        CancellationTokenRegistration registration = default;
        try
        {
            registration = state.CancelWith(cancellation);
            (ByteTarget target, MessageEncoder<T> encoder) = await OpenAsync();
            await encoder.WriteAsync(target, header, payload, state.Token);
        }
        catch (Exception e)
        {
            throw await state.TranslateAsync(e, writing: true, cancellation);
        }
        finally
        {
            registration.Dispose();
            End();
        }
    }

    /// <summary>Takes the turn to write, or throws.</summary>
    protected abstract void Begin();

    /// <summary>Gives the turn back.</summary>
    protected abstract void End();

    /// <summary>The body, once it can be written.</summary>
    protected abstract ValueTask<(ByteTarget Target, MessageEncoder<T> Encoder)> OpenAsync();
}
