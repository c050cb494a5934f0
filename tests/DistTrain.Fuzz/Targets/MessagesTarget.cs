using System.Reflection;
using DistTrain.Transport.Grpc;
using DistTrain.Transport.Proto.V1;
using DistTrain.Transport.Services;
using Google.Protobuf;
using Google.Protobuf.Reflection;

namespace DistTrain.Fuzz.Targets;

/// <summary>Every message of <c>proto/disttrain/v1</c> and of the services beside them: parsed, and taken to the cluster's own form where there is one.</summary>
internal sealed class MessagesTarget : FuzzTarget
{
    private static readonly MessageDescriptor[] Types =
    [
        .. CommonReflection.Descriptor.MessageTypes, .. CoordinatorReflection.Descriptor.MessageTypes, .. ParameterServerReflection.Descriptor.MessageTypes,
        MemberMessage.Descriptor, MemberMessage.Descriptor, CoordinatorMessage.Descriptor, CoordinatorMessage.Descriptor,
    ];

    private static readonly Func<ReadOnlyMemory<byte>, IMessage>[] Parsers =
        [.. Types.Select(t => typeof(MessagesTarget).GetMethod(nameof(Parse), BindingFlags.Static | BindingFlags.NonPublic)!.MakeGenericMethod(t.ClrType).CreateDelegate<Func<ReadOnlyMemory<byte>, IMessage>>())];

    public override string Name => "messages";

    public override int Brief => 20_000;

    public override byte[] Make(FuzzRandom random)
    {
        int type = random.Next(Types.Length);
        return [(byte)type, .. Frames.Damaged(random, ProtoSamples.Make(random, Types[type], 0.7), 0.8)];
    }

    public override bool Read(byte[] input)
    {
        if (input.Length == 0) return false;
        switch (Parsers[input[0] % Types.Length](input.AsMemory(1)))
        {
            case MemberMessage member:
                return WireMessages.FromWire(member) is not null;
            case CoordinatorMessage coordinator:
                return WireMessages.FromWire(coordinator) is not null;
            case Traced traced:
                return WireTrace.FromWire(traced) is not null;
            case Segment segment:
                _ = WireMessages.FromWire(segment);
                break;
            case Weights weights:
                _ = WireMessages.FromWire(weights);
                break;
            case CheckpointPiece piece:
                _ = WireMessages.FromWire(piece);
                break;
        }

        return true;
    }

    private static IMessage Parse<T>(ReadOnlyMemory<byte> bytes)
        where T : class, IMessage<T>, new() => MessageCodec<T>.Instance.Parse(new(bytes));
}
