using System.IO.Pipelines;
using DistTrain.Kernels;
using DistTrain.Transport.Grpc;
using DistTrain.Transport.Proto.V1;

namespace DistTrain.Fuzz.Targets;

/// <summary>gRPC's frames as both sides take them in: in pieces of any size, whole or with payloads set apart, compressed or not.</summary>
internal sealed class FramesTarget : FuzzTarget
{
    private const int Sinks = 1, Compresses = 2, Pipes = 4;
    private const int MostPlaces = 16 << 10;

    public override string Name => "frames";

    public override int Brief => 20_000;

    // What a message may inflate to is bounded by the limit of messages alone.
    public override long Limit(byte[] input) => (2 << 20) + (64L * input.Length) + (input.Length > 0 && (input[0] & Compresses) != 0 ? 64L * Frames.MaxSize : 0);

    public override byte[] Make(FuzzRandom random)
    {
        byte how = (byte)random.Next(8);
        byte[] frames = Frames.Make(random, 6, (how & Compresses) != 0, () =>
            Frames.Damaged(random, ProtoSamples.Make(random, (how & Sinks) == 0 ? MemberMessage.Descriptor : Segment.Descriptor)));
        return [how, (byte)random.Next(256), .. frames];
    }

    public override bool Read(byte[] input)
    {
        if (input.Length < 2) return false;
        var pieces = new Pieces(input.AsMemory(2), input[1]);
        ByteSource source = (input[0] & Pipes) != 0 ? new PipeSource(PipeReader.Create(pieces)) : new StreamSource(pieces);
        return (input[0] & Sinks) != 0 ? ReadPayloads(source, (input[0] & Compresses) != 0) : ReadWhole(source, (input[0] & Compresses) != 0);
    }

    private static bool ReadWhole(ByteSource source, bool gzip)
    {
        using var decoder = new MessageDecoder<MemberMessage>(source, Frames.MaxSize, gzip);
        bool any = false;
        while (Now(decoder.ReadAsync(default)) is not null) any = true;
        return any;
    }

    private static bool ReadPayloads(ByteSource source, bool gzip)
    {
        using var decoder = new MessageDecoder<Segment>(source, Frames.MaxSize, gzip);
        using var sink = new Sink();
        bool any = false;
        try
        {
            while (Now(decoder.ReadAsync(sink, default))) any = true;
        }
        catch (GrpcException) when (sink.Open)
        {
            throw new BrokenPromiseException("a payload was begun, and neither completed nor aborted");
        }

        return any;
    }

    private sealed unsafe class Sink : IPayloadSink<Segment>, IDisposable
    {
        private NativeBuffer? _place;

        public bool Open => _place is not null;

        public ValueTask<PayloadTarget> BeginAsync(Segment header, int length, CancellationToken cancellation)
        {
            if (Open) throw new BrokenPromiseException("a payload is begun within another");
            if (!header.Payload.IsEmpty) throw new BrokenPromiseException("the header holds a payload");
            if (length < 0 || length > Frames.MaxSize) throw new BrokenPromiseException($"a payload of {length} bytes is beyond the limit");
            if (length > MostPlaces) return new(PayloadTarget.Drop);
            if (header.Bucket % 2 != 0) return new(new PayloadTarget(new byte[length].AsMemory()));
            _place = new NativeBuffer((length / sizeof(float)) + 1);
            return new(new PayloadTarget(new NativeBytes((nint)_place.Pointer, length)));
        }

        public ValueTask CompleteAsync(Segment header, CancellationToken cancellation)
        {
            Dispose();
            return default;
        }

        public void Abort(Segment header) => Dispose();

        public void Dispose()
        {
            _place?.Dispose();
            _place = null;
        }
    }
}
