using DistTrain.Core.Channels;
using DistTrain.Core.Messages;
using DistTrain.Transport.Services;
using Google.Protobuf;
using Wire = DistTrain.Transport.Proto.V1;

namespace DistTrain.Transport.Tests.Services;

/// <summary>Every message of the cluster has a form on the wire that loses nothing.</summary>
public sealed class WireMessagesTests
{
    // Enough for every value of every enum, and for lists of different lengths, none among them.
    private const int Variants = 8;

    private static T Over<T>(IMessage message, MessageParser<T> parser)
        where T : IMessage<T> => parser.ParseFrom(message.ToByteArray());

    [Fact]
    public void MemberMessages_AllKinds_ComeBackAsTheyWere()
    {
        var seen = new HashSet<Wire.MemberMessage.BodyOneofCase>();
        foreach (Type kind in Samples.Kinds<MemberMessage>())
        {
            for (int variant = 0; variant < Variants; variant++)
            {
                var message = (MemberMessage)new Samples(variant).Make(kind);
                Wire.MemberMessage wire = Over(WireMessages.ToWire(message), Wire.MemberMessage.Parser);
                seen.Add(wire.BodyCase);
                Assert.Equal(Samples.Describe(message), Samples.Describe(WireMessages.FromWire(wire)));
            }
        }

        Assert.Equal(Enum.GetValues<Wire.MemberMessage.BodyOneofCase>().Where(c => c != Wire.MemberMessage.BodyOneofCase.None), seen.Order());
    }

    [Fact]
    public void CoordinatorMessages_AllKinds_ComeBackAsTheyWere()
    {
        var seen = new HashSet<Wire.CoordinatorMessage.BodyOneofCase>();
        foreach (Type kind in Samples.Kinds<CoordinatorMessage>())
        {
            for (int variant = 0; variant < Variants; variant++)
            {
                var message = (CoordinatorMessage)new Samples(variant).Make(kind);
                Wire.CoordinatorMessage wire = Over(WireMessages.ToWire(message), Wire.CoordinatorMessage.Parser);
                seen.Add(wire.BodyCase);
                Assert.Equal(Samples.Describe(message), Samples.Describe(WireMessages.FromWire(wire)));
            }
        }

        Assert.Equal(Enum.GetValues<Wire.CoordinatorMessage.BodyOneofCase>().Where(c => c != Wire.CoordinatorMessage.BodyOneofCase.None), seen.Order());
    }

    [Fact]
    public void Headers_OfSegmentsAndPieces_ComeBackAsTheyWere()
    {
        for (int variant = 0; variant < Variants; variant++)
        {
            var segment = (SegmentHeader)new Samples(variant).Make(typeof(SegmentHeader));
            Assert.Equal(segment, WireMessages.FromWire(Over(WireMessages.ToWire(segment), Wire.Segment.Parser)));
            var evaluation = segment with { Kind = SegmentKind.Evaluation, Bucket = -1 };
            Assert.Equal(evaluation, WireMessages.FromWire(Over(WireMessages.ToWire(evaluation), Wire.Segment.Parser)));
            var piece = (CheckpointPieceHeader)new Samples(variant).Make(typeof(CheckpointPieceHeader));
            Assert.Equal(piece, WireMessages.FromWire(Over(WireMessages.ToWire(piece), Wire.CheckpointPiece.Parser)));
        }
    }

    [Fact]
    public void Text_OfAMember_IsCutAndLosesWhatATerminalObeys()
    {
        string text = "\u001b[2J" + new string('x', 1 << 20);
        string[] texts =
        [
            .. Texts(new JoinRequest(DistTrain.Core.MemberRole.Worker, text, 1, 2, 3, 4, text) { HostIdentity = text }, (JoinRequest r) => [r.Host, r.Endpoint, r.HostIdentity]),
            .. Texts(new JoinReady(text, text), (JoinReady r) => [r.JobHash, r.DataHash]),
            .. Texts(new Failed(text, DistTrain.Core.ExitCode.Internal), (Failed f) => [f.Cause]),
            .. Texts(new Leaving(text), (Leaving l) => [l.Reason]),
            .. Texts(new ServerUnreachable(1, 0, text), (ServerUnreachable s) => [s.Cause]),
            .. Texts(new Explained(1, text), (Explained e) => [e.Doing]),
        ];
        Assert.Equal(9, texts.Length);
        Assert.All(texts, t =>
        {
            Assert.StartsWith(" [2Jx", t, StringComparison.Ordinal);
            Assert.InRange(t.Length, 64, 4096);
        });

        static string[] Texts<T>(T message, Func<T, string[]> read)
            where T : MemberMessage => read((T)WireMessages.FromWire(Over(WireMessages.ToWire(message), Wire.MemberMessage.Parser))!);
    }

    [Fact]
    public void FromWire_KindOfANewerBuild_IsNull()
    {
        // Field 99, a message of no bytes: a body that this build doesn't know.
        byte[] unknown = [0x9a, 0x06, 0x00];
        Assert.Null(WireMessages.FromWire(Wire.MemberMessage.Parser.ParseFrom(unknown)));
        Assert.Null(WireMessages.FromWire(Wire.CoordinatorMessage.Parser.ParseFrom(unknown)));
    }
}
