using Google.Protobuf;

namespace DistTrain.Transport.Grpc;

/// <summary>
/// The messages that come in on one side of a call, in order. One read at a time; reads and writes of a call may overlap.
/// </summary>
/// <typeparam name="T">The message.</typeparam>
public interface IMessageReader<T>
    where T : class, IMessage<T>
{
    /// <summary>
    /// The next message, or null at the end of the stream. On the client the end is also the call's: a status other
    /// than OK is thrown in place of it, every time.
    /// </summary>
    /// <exception cref="GrpcException">The call ended with another status than OK, here or at the peer.</exception>
    /// <exception cref="OperationCanceledException">A token of the caller was cancelled, which cancels the call too.</exception>
    ValueTask<T?> ReadAsync(CancellationToken cancellation = default);

    /// <summary>
    /// Reads the next message, its payload straight into memory that <paramref name="sink"/> provides. False at the end.
    /// Completes after the sink has completed or dropped the message, so the message is the caller's from then on.
    /// </summary>
    /// <exception cref="InvalidOperationException"><typeparamref name="T"/> is no payload message.</exception>
    /// <exception cref="GrpcException">As for <see cref="ReadAsync(CancellationToken)"/>.</exception>
    /// <exception cref="OperationCanceledException">As for <see cref="ReadAsync(CancellationToken)"/>.</exception>
    ValueTask<bool> ReadAsync(IPayloadSink<T> sink, CancellationToken cancellation = default);
}

/// <summary>
/// The messages that go out on one side of a call, in order. One write at a time. A write completes when the message is
/// with the operating system or in a bounded buffer, and waits while the peer doesn't take more.
/// </summary>
/// <typeparam name="T">The message.</typeparam>
public interface IMessageWriter<T>
    where T : class, IMessage<T>
{
    /// <summary>Writes a message. It is serialised before this returns its task.</summary>
    /// <exception cref="GrpcException">The call has ended, or the message is over the limit (RESOURCE_EXHAUSTED; the call goes on).</exception>
    /// <exception cref="OperationCanceledException">A token of the caller was cancelled, which cancels the call too.</exception>
    ValueTask WriteAsync(T message, CancellationToken cancellation = default);

    /// <summary>
    /// Writes <paramref name="header"/>, whose payload field is empty, with <paramref name="payload"/> as its payload.
    /// The payload isn't copied: it belongs to the writer until the task completes, and to the caller again afterwards.
    /// Payload messages are never compressed.
    /// </summary>
    /// <exception cref="InvalidOperationException"><typeparamref name="T"/> is no payload message.</exception>
    /// <exception cref="GrpcException">As for <see cref="WriteAsync(T, CancellationToken)"/>.</exception>
    /// <exception cref="OperationCanceledException">As for <see cref="WriteAsync(T, CancellationToken)"/>.</exception>
    ValueTask WriteAsync(T header, NativeBytes payload, CancellationToken cancellation = default);

    /// <inheritdoc cref="WriteAsync(T, NativeBytes, CancellationToken)"/>
    ValueTask WriteAsync(T header, ReadOnlyMemory<byte> payload, CancellationToken cancellation = default);
}

/// <summary>
/// Where the payloads of a stream arrive. Called by one read at a time: <see cref="BeginAsync"/>, then for a message that
/// was accepted exactly one of <see cref="CompleteAsync"/> and <see cref="Abort"/>.
/// </summary>
/// <typeparam name="T">The payload message; the instances handed over have an empty payload field.</typeparam>
/// <example><code>
/// sealed class BucketSink(ServerState state) : IPayloadSink&lt;Segment&gt;
/// {
///     public ValueTask&lt;PayloadTarget&gt; BeginAsync(Segment header, int length, CancellationToken cancellation) =&gt;
///         new(state.Rent(header, length) is { } room ? new PayloadTarget(room) : PayloadTarget.Drop);
///     public ValueTask CompleteAsync(Segment header, CancellationToken cancellation) =&gt; state.FilledAsync(header);
///     public void Abort(Segment header) =&gt; state.GiveBack(header);
/// }
/// while (await requests.ReadAsync(sink)) { }
/// </code></example>
public interface IPayloadSink<in T>
{
    /// <summary>
    /// A message begins: every field but the payload is known, and so is the payload's length in bytes, which may be 0 and is
    /// within the limit for messages. Gives memory of exactly that length, or <see cref="PayloadTarget.Drop"/>. May wait:
    /// nothing more is read from the peer until then.
    /// </summary>
    ValueTask<PayloadTarget> BeginAsync(T header, int length, CancellationToken cancellation);

    /// <summary>The payload is in its place, whole.</summary>
    ValueTask CompleteAsync(T header, CancellationToken cancellation);

    /// <summary>The payload will not come to its end (the peer died, the call was cancelled): what was written is void.</summary>
    void Abort(T header);
}
