using DistTrain.Core.Layout;
using DistTrain.Training.Checkpoints;
using DistTrain.Transport.Grpc;
using DistTrain.Transport.Services;
using Google.Protobuf;
using Wire = DistTrain.Transport.Proto.V1;

namespace DistTrain.Fuzz.Targets;

/// <summary>Pieces of checkpoints, as servers send them to the coordinator's process.</summary>
internal sealed class PiecesTarget : FuzzTarget
{
    private const long Term = 2, Version = 3;
    private static readonly ParameterLayout Layout = new([("a", [64], TensorRole.Parameter), ("b", [32], TensorRole.Parameter)]);

    public override string Name => "pieces";

    public override int Brief => 10_000;

    public override byte[] Make(FuzzRandom random) => Frames.Make(random, 8, gzip: true, () =>
    {
        var piece = (Wire.CheckpointPiece)ProtoSamples.Make(random, Wire.CheckpointPiece.Descriptor);
        if (random.Chance(0.9)) (piece.Term, piece.Version) = (Term, Version);
        if (random.Chance(0.9)) piece.Vector = random.Chance(0.5) ? "weights" : "momentum";
        if (random.Chance(0.9)) piece.Payload = ByteString.CopyFrom(new byte[random.Pick([384, 384, 192, 64, 4, 0, 3, 2000])]);
        return Frames.Damaged(random, piece, 0.4);
    });

    public override bool Read(byte[] input)
    {
        using var keeper = new CheckpointKeeper(Layout, ["momentum"], null, _ => null, (_, _) => { }, (_, _) => { });
        keeper.Expect(Term, Version, []);
        using var decoder = new MessageDecoder<Wire.CheckpointPiece>(new StreamSource(new Pieces(input, 1)), Frames.MaxSize, gzip: true);
        var sink = new CoordinatorService.PieceSink(keeper);
        bool any = false;
        try
        {
            while (Now(decoder.ReadAsync(sink, default))) any = true;
        }
        finally
        {
            keeper.FlushAsync().GetAwaiter().GetResult();
        }

        return any;
    }
}
