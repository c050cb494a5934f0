using DistTrain.Core.Channels;
using DistTrain.Core.Layout;
using DistTrain.Training.Worker;
using DistTrain.Transport.Grpc;
using DistTrain.Transport.Services;
using Google.Protobuf;
using Wire = DistTrain.Transport.Proto.V1;

namespace DistTrain.Fuzz.Targets;

/// <summary>Weights, as a server sends them to workers: into the store of those that wait for each other, or of those that don't.</summary>
internal sealed class WeightsTarget : FuzzTarget
{
    private const long Term = 2;
    private static readonly ParameterLayout Layout = new([("a", [64], TensorRole.Parameter), ("b", [32], TensorRole.Parameter)]);
    private static readonly BucketPlan Plan = new(Layout, 1, 64);

    public override string Name => "weights";

    public override int Brief => 10_000;

    public override byte[] Make(FuzzRandom random) => [(byte)random.Next(256), .. Frames.Make(random, 10, gzip: true, () =>
    {
        var weights = (Wire.Weights)ProtoSamples.Make(random, Wire.Weights.Descriptor);
        weights.Line = weights.Shared = null;
        if (random.Chance(0.9)) weights.Term = Term;
        if (random.Chance(0.9)) weights.Bucket = random.Next(2);
        if (random.Chance(0.9)) weights.Payload = ByteString.CopyFrom(new byte[weights.Bucket == 0 ? 256 : 128]);
        return Frames.Damaged(random, weights, 0.4);
    })];

    public override bool Read(byte[] input)
    {
        if (input.Length == 0) return false;
        using var store = new WeightsStore(Layout, Plan, Term, _ => { });
        using var fresh = new FreshWeights(Layout, Plan, Term, () => { }, _ => { }, Training.WireFormat.Exact);
        if ((input[0] & 2) != 0) store.Use(input[0] >> 4);
        using var decoder = new MessageDecoder<Wire.Weights>(new StreamSource(new Pieces(input.AsMemory(1), input[0])), Frames.MaxSize, gzip: true);
        var sink = new Sink((input[0] & 1) == 0 ? store : fresh);
        bool any = false;
        while (true)
        {
            ValueTask<bool> reading = decoder.ReadAsync(sink, default);
            // A version that is in use waits; whoever has nothing more to say has.
            if (!reading.IsCompleted || !reading.GetAwaiter().GetResult()) return any;
            any = true;
            _ = store.Has(1, 0, Layout.Length);
            _ = store.IsOver(1);
            if ((input[0] & 1) != 0) fresh.Refresh();
        }
    }

    // What a connection does with payloads that come over the network.
    private sealed class Sink(IWeightsSink sink) : IPayloadSink<Wire.Weights>
    {
        public async ValueTask<PayloadTarget> BeginAsync(Wire.Weights header, int length, CancellationToken cancellation)
        {
            NativeSpan place = await sink.BeginAsync(WireMessages.FromWire(header), cancellation);
            if (place.Address == 0) return PayloadTarget.Drop;
            if (length != place.Length * sizeof(float)) throw new GrpcException(GrpcStatusCode.InvalidArgument, "a bucket of another length");
            return new PayloadTarget(new NativeBytes(place.Address, length));
        }

        public ValueTask CompleteAsync(Wire.Weights header, CancellationToken cancellation)
        {
            sink.Complete(WireMessages.FromWire(header));
            return default;
        }

        public void Abort(Wire.Weights header) => sink.Abort(WireMessages.FromWire(header));
    }
}
