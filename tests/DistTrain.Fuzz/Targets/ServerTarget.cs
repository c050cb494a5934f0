using System.Collections.Immutable;
using DistTrain.Core.Channels;
using DistTrain.Core.Layout;
using DistTrain.Core.Messages;
using DistTrain.Core.Sharding;
using DistTrain.Kernels;
using DistTrain.Transport.Grpc;
using DistTrain.Transport.Services;
using Google.Protobuf;
using Wire = DistTrain.Transport.Proto.V1;

namespace DistTrain.Fuzz.Targets;

/// <summary>A parameter server, whose coordinator orders anything and whose workers push anything.</summary>
internal sealed class ServerTarget : FuzzTarget
{
    private const byte Orders = 0, Pushes = 1;
    private const long Term = 2;

    public override string Name => "server";

    // Weights, state, buckets and copies for checkpoints of a small model.
    public override long Limit(byte[] input) => (4 << 20) + (400L * input.Length);

    public override byte[] Make(FuzzRandom random)
    {
        byte way = (byte)random.Next(64);
        return Script.Make(way, Story(random));
    }

    public override bool Read(byte[] input)
    {
        if (input.Length == 0) return false;
        var rig = new ServerRig(input[0]);
        try
        {
            foreach ((byte kind, byte[] bytes) in Script.Read(input))
            {
                if (kind == Orders) Order(rig, bytes);
                else Push(rig, bytes);
            }
        }
        finally
        {
            rig.DisposeAsync().AsTask().GetAwaiter().GetResult();
        }

        return true;
    }

    private static void Order(ServerRig rig, byte[] bytes)
    {
        CoordinatorMessage? message;
        try
        {
            message = WireMessages.FromWire(MessageCodec<Wire.CoordinatorMessage>.Instance.Parse(new(bytes)));
        }
        catch (GrpcException)
        {
            return;
        }

        if (message is not null) rig.Tell(message);
    }

    private static void Push(ServerRig rig, byte[] bytes)
    {
        using var decoder = new MessageDecoder<Wire.Segment>(new StreamSource(new Pieces(bytes, 0)), Frames.MaxSize, gzip: true);
        var sink = new ParameterServerService.SegmentSink(rig.Server);
        try
        {
            while (Now(decoder.ReadAsync(sink, default)))
            {
            }
        }
        catch (GrpcException)
        {
            // The call's end, not the server's.
        }
        finally
        {
            sink.Regions.Close();
        }
    }

    private static IEnumerable<(byte Kind, byte[] Bytes)> Story(FuzzRandom random)
    {
        if (random.Chance(0.9))
        {
            yield return (Orders, Bytes(new AcceptTerm(Term)));
            yield return (Orders, Bytes(new OwnPartition(Term, random.Next(2), 2, random.Pick([16, 4096, 1 << 20]), 0) { Shares = random.Chance(0.7) ? [] : [1, 3] }));
            yield return (Orders, Bytes(new Clock(Term, 0, 4, random.Chance(0.5) ? [1] : [], default)));
        }

        for (int entries = random.Next(12); entries > 0; entries--)
        {
            if (random.Chance(0.4))
            {
                var any = (Wire.CoordinatorMessage)ProtoSamples.Make(random, Wire.CoordinatorMessage.Descriptor, 0.8);
                if (random.Chance(0.8)) ProtoSamples.Set(any, "term", Term);
                yield return (Orders, Frames.Damaged(random, any, 0.2));
            }
            else
            {
                yield return (Pushes, Frames.Make(random, 4, gzip: true, () => Segment(random)));
            }
        }
    }

    private static byte[] Segment(FuzzRandom random)
    {
        var segment = (Wire.Segment)ProtoSamples.Make(random, Wire.Segment.Descriptor);
        segment.Shared = null;
        if (random.Chance(0.9)) segment.Term = Term;
        if (random.Chance(0.7)) segment.Step = random.Next(3);
        if (random.Chance(0.7)) segment.Shards = random.Pick([new Wire.ShardNode { Hi = 4 }, new() { Hi = 2 }, new() { Lo = 2, Hi = 4 }, new() { Hi = 1 }, new() { Lo = 3, Hi = 4 }]);
        if (random.Chance(0.8)) segment.Payload = ByteString.CopyFrom(Payload(random));
        return Frames.Damaged(random, segment, 0.3);
    }

    // As long as one of the buckets, in one of the formats.
    private static byte[] Payload(FuzzRandom random)
    {
        int words = random.Pick([80, 64, 16, 4096, 4976, 904, 2488, 2048, 1244, 1024, 84, 42, 40, 20, random.Next(6000)]);
        if (random.Chance(0.1)) return random.Bytes(4 * words);
        byte[] payload = new byte[4 * words];
        for (int i = random.Next(20); i > 0 && words > 0; i--) BitConverter.TryWriteBytes(payload.AsSpan(4 * random.Next(words)), (float)random.Real());
        return payload;
    }

    private static byte[] Bytes(CoordinatorMessage message) => WireMessages.ToWire(message).ToByteArray();
}
