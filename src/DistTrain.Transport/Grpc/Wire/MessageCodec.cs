using Google.Protobuf;
using Google.Protobuf.Reflection;

namespace DistTrain.Transport.Grpc;

/// <summary>What the framing must know of a message type: its parser, and its payload field if it has one.</summary>
internal sealed class MessageCodec<T>
    where T : class, IMessage<T>, new()
{
    private readonly FieldDescriptor? _payload;

    private MessageCodec()
    {
        Descriptor = new T().Descriptor;
        FieldDescriptor? last = Descriptor.Fields.InFieldNumberOrder().LastOrDefault();
        if (last is { Name: "payload", FieldType: FieldType.Bytes, IsRepeated: false, RealContainingOneof: null, IsExtension: false })
        {
            _payload = last;
            PayloadTag = WireFormat.MakeTag(last.FieldNumber, WireFormat.WireType.LengthDelimited);
        }
    }

    public static MessageCodec<T> Instance { get; } = new();

    public MessageDescriptor Descriptor { get; }

    public MessageParser<T> Parser { get; } = new(() => new T());

    /// <summary>The tag of the payload field; 0 when this is no payload message.</summary>
    public uint PayloadTag { get; }

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
