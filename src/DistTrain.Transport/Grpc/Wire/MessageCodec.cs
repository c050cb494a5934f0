using System.Buffers;
using System.Collections.Frozen;
using Google.Protobuf;
using Google.Protobuf.Reflection;

namespace DistTrain.Transport.Grpc;

/// <summary>What the framing must know of a message type: its parser, and its payload field if it has one.</summary>
internal sealed class MessageCodec<T>
    where T : class, IMessage<T>, new()
{
    private readonly MessageParser<T> _parser = new MessageParser<T>(() => new T()).WithDiscardUnknownFields(true);
    private readonly FieldDescriptor? _payload;
    private readonly FrozenSet<ulong> _bodies;

    private MessageCodec()
    {
        Descriptor = new T().Descriptor;
        _bodies = Descriptor.Fields.InFieldNumberOrder().Where(f => f is { RealContainingOneof: not null, FieldType: FieldType.Message }).Select(f => (ulong)f.FieldNumber).ToFrozenSet();
        FieldDescriptor? last = Descriptor.Fields.InFieldNumberOrder().LastOrDefault();
        if (last is { Name: "payload", FieldType: FieldType.Bytes, IsRepeated: false, RealContainingOneof: null, IsExtension: false })
        {
            _payload = last;
            PayloadTag = WireFormat.MakeTag(last.FieldNumber, WireFormat.WireType.LengthDelimited);
        }
    }

    public static MessageCodec<T> Instance { get; } = new();

    public MessageDescriptor Descriptor { get; }

    /// <summary>The tag of the payload field; 0 when this is no payload message.</summary>
    public uint PayloadTag { get; }

    /// <summary>Takes a message from its bytes. Fields that are unknown here are forgotten: they would take many times their bytes.</summary>
    /// <exception cref="GrpcException">It is none.</exception>
    public T Parse(ReadOnlySequence<byte> bytes)
    {
        // Nobody writes two, and to join n of them the parser copies what it has n times.
        if (_bodies.Count > 0 && FieldCount.IsMoreThanOne(bytes, _bodies)) throw FrameErrors.BadMessage(Descriptor.FullName, new InvalidDataException("it has more than one body"));
        try
        {
            return _parser.ParseFrom(bytes);
        }
        catch (Exception e)
        {
            // The parser's own slips on garbage, too: a length beyond the message's end may come out as any exception.
            throw FrameErrors.BadMessage(Descriptor.FullName, e);
        }
    }

    public ByteString Payload(T message) => (ByteString)_payload!.Accessor.GetValue(message);

    public void ClearPayload(T message) => _payload!.Accessor.Clear(message);

    public void RequirePayloadField()
    {
        if (_payload is null)
        {
            throw new InvalidOperationException($"{Descriptor.FullName} is no payload message: its field with the highest number is not a singular 'bytes payload'");
        }
    }
}
