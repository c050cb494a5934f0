using DistTrain.Transport.Grpc;
using DistTrain.Transport.Proto.V1;
using DistTrain.Transport.Services;
using Google.Protobuf;

namespace DistTrain.Transport.Tests.Grpc;

/// <summary>Messages that nobody means well with, each of which did harm once.</summary>
public sealed class HostileMessageTests
{
    private static GrpcException Refused<T>(byte[] bytes)
        where T : class, IMessage<T>, new() => Assert.Throws<GrpcException>(() => MessageCodec<T>.Instance.Parse(new(bytes)));

    /// <summary>The parser runs over its own buffer there, and says so with an IndexOutOfRangeException.</summary>
    [Theory]
    [InlineData("6AFFFFFFFF0710")]
    [InlineData("5AFEFFFFFF0710")]
    [InlineData("3AFFFFFFFF0709")]
    public void Parse_LengthBeyondTheEnd_IsRefused(string message) =>
        Assert.Equal(GrpcStatusCode.Internal, Refused<MemberMessage>(Convert.FromHexString(message)).Code);

    /// <summary>Each body is joined with all before it: a few bytes each, and a copy of everything for each.</summary>
    [Fact]
    public void Parse_SeveralBodies_IsRefused()
    {
        byte[] one = new MemberMessage { NormsMeasured = new() { Squares = { 1, 2 } } }.ToByteArray();
        Assert.Equal(2, MessageCodec<MemberMessage>.Instance.Parse(new(one)).NormsMeasured.Squares.Count);
        Assert.Contains("more than one body", Refused<MemberMessage>([.. one, .. one]).Detail, StringComparison.Ordinal);
        // Behind a tag that has no meaning, which the parser goes over.
        foreach (byte senseless in (byte[])[0x3e, 0x3f]) Assert.Contains("more than one body", Refused<MemberMessage>([senseless, .. one, .. one]).Detail, StringComparison.Ordinal);
    }

    [Fact]
    public void Parse_UnknownFields_AreForgotten()
    {
        using var memory = new MemoryStream();
        using (var output = new CodedOutputStream(memory))
        {
            output.WriteTag(3, WireFormat.WireType.Varint);
            output.WriteInt64(7);
            for (int number = 1000; number < 11_000; number++)
            {
                output.WriteTag(number, WireFormat.WireType.Varint);
                output.WriteInt64(1);
            }
        }

        byte[] bytes = memory.ToArray();
        _ = MessageCodec<Segment>.Instance.Parse(new(new Segment { Step = 1 }.ToByteArray())); // the first builds the descriptors
        long before = GC.GetAllocatedBytesForCurrentThread();
        Segment segment = MessageCodec<Segment>.Instance.Parse(new(bytes));
        Assert.InRange(GC.GetAllocatedBytesForCurrentThread() - before, 0, bytes.Length);
        Assert.True(segment.CalculateSize() < 100);
    }

    [Theory]
    [InlineData(long.MaxValue)]
    [InlineData(long.MinValue)]
    public void Welcome_TimeoutBeyondTimers_IsOneAllTheSame(long milliseconds)
    {
        var welcome = (Core.Messages.Welcome)WireMessages.FromWire(new CoordinatorMessage { Welcome = new() { FailureTimeoutMs = milliseconds } })!;
        Assert.InRange(welcome.FailureTimeout, TimeSpan.Zero, TimeSpan.FromDays(30));
    }

    /// <summary>A server that gives no address must not end the workers that are told of it.</summary>
    [Fact]
    public async Task Connect_ToNoAddress_IsALostServer()
    {
        var channel = new GrpcTensorChannel(endpoint => new GrpcChannel(endpoint), share: false);
        var server = new Core.Channels.ServerAddress(0, new Core.MemberId(3), "no address");
        var e = await Assert.ThrowsAsync<Core.DistTrainException>(() => channel.ConnectAsync(server, 1, 1, null!, default));
        Assert.Equal(Core.ExitCode.ClusterLost, e.ExitCode);
        Assert.Contains("no address", e.Message, StringComparison.Ordinal);
    }
}
