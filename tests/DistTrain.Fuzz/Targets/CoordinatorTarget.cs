using System.Collections.Immutable;
using DistTrain.Core;
using DistTrain.Core.Messages;
using DistTrain.Core.Sharding;
using DistTrain.Training.Coordinator;
using DistTrain.Transport.Grpc;
using DistTrain.Transport.Services;
using Google.Protobuf;
using Wire = DistTrain.Transport.Proto.V1;

namespace DistTrain.Fuzz.Targets;

/// <summary>A coordinator in the middle of a job, and members that say anything at any time. Nothing that one says may end the job by an error.</summary>
internal sealed class CoordinatorTarget : FuzzTarget
{
    private const byte Ticks = 200, Waits = 201, Closes = 202, Opens = 203, Saves = 204, Stops = 205;
    private const int MostLinks = 12;
    private const long Term = 2;

    public override string Name => "coordinator";

    public override bool IsRefusal(Exception exception) => exception is GrpcException;

    // A job's clock, reports and texts, however little was said.
    public override long Limit(byte[] input) => (2 << 20) + (400L * input.Length);

    public override byte[] Make(FuzzRandom random) => Script.Make((byte)random.Next(random.Chance(0.8) ? 32 : 128), Story(random));

    public override bool Read(byte[] input)
    {
        if (input.Length == 0) return false;
        var rig = new CoordinatorRig(input[0]);
        foreach ((byte kind, byte[] bytes) in Script.Read(input))
        {
            CoordinatorRig.Link link = rig.Links[kind % rig.Links.Count];
            switch (kind)
            {
                case Ticks:
                    rig.Tell(new Tick());
                    break;
                case Waits:
                    rig.Time.Advance(TimeSpan.FromSeconds(bytes.Length));
                    rig.Tell(new Tick());
                    break;
                case Closes:
                    CoordinatorRig.Link closed = rig.Links[bytes.Length % rig.Links.Count];
                    rig.Tell(new LinkClosed(closed, "gone"));
                    break;
                case Opens when rig.Links.Count < MostLinks:
                    rig.Open();
                    break;
                case Saves:
                    rig.Tell(new CheckpointWritten(bytes.Length, null));
                    break;
                case Stops:
                    rig.Tell(new StopRequested());
                    break;
                default:
                    if (Decoded(bytes) is { } message && !link.Closed) rig.Say(link, message);
                    break;
            }
        }

        return true;
    }

    private static MemberMessage? Decoded(byte[] bytes)
    {
        try
        {
            return WireMessages.FromWire(MessageCodec<Wire.MemberMessage>.Instance.Parse(new(bytes)));
        }
        catch (GrpcException)
        {
            return null;
        }
    }

    private static IEnumerable<(byte Kind, byte[] Bytes)> Story(FuzzRandom random)
    {
        bool honest = random.Chance(0.85);
        for (int p = 0; p < 2 && honest; p++) yield return ((byte)p, Bytes(new TermAccepted(Term, 0, default)));
        for (int p = 0; p < 2 && honest; p++) yield return ((byte)p, Bytes(new PartitionReady(Term, p, 0)));
        long step = 0;
        for (int entries = random.Next(25); entries > 0; entries--)
        {
            byte who = (byte)random.Next(random.Chance(0.9) ? 4 : MostLinks);
            switch (random.Next(8))
            {
                case 0 or 1:
                    var stats = new SegmentStats(random.Chance(0.95) ? 2 : random.Real(), random.Chance(0.95) ? 4 : random.Real(), 3, 4, 4);
                    for (int p = 0; p < 2; p++) yield return ((byte)p, Bytes(new StepApplied(Term, p, step, stats)));
                    step++;
                    if (random.Chance(0.7)) yield return (0, Bytes(new EvaluationReduced(Term, step, stats)));
                    break;
                case 2:
                    yield return (random.Pick([Ticks, Waits, Closes, Opens, Saves, Stops]), new byte[random.Next(10)]);
                    break;
                case 3:
                    yield return (who, Bytes(new ShardsMissing(Term, who, step, random.Chance(0.3), [.. Enumerable.Range(0, random.Next(9))])));
                    break;
                case 4:
                    yield return (who, Bytes(new NormsMeasured(Term, who, step, [.. Enumerable.Repeat(1f, random.Pick([5, 5, 5, 3, 2]))])));
                    yield return ((byte)(1 - (who & 1)), Bytes(new NormsMeasured(Term, 1 - (who & 1), step, [])));
                    break;
                default:
                    Wire.MemberMessage any = (Wire.MemberMessage)ProtoSamples.Make(random, Wire.MemberMessage.Descriptor, 0.85);
                    if (random.Chance(0.8)) ProtoSamples.Set(any, "term", Term);
                    if (random.Chance(0.3)) ProtoSamples.Set(any, "partition", random.Next(-1, 3));
                    if (random.Chance(0.7)) ProtoSamples.Set(any, "protocol_version", Protocol.Version);
                    if (random.Chance(0.7)) ProtoSamples.Set(any, "numerics_revision", 1);
                    if (random.Chance(0.5)) ProtoSamples.Set(any, "job_hash", "job");
                    if (random.Chance(0.5)) ProtoSamples.Set(any, "data_hash", "data");
                    yield return (who, Frames.Damaged(random, any, 0.2));
                    break;
            }
        }
    }

    private static byte[] Bytes(MemberMessage message) => WireMessages.ToWire(message).ToByteArray();
}
