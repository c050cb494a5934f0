using DistTrain.Transport.Grpc;
using DistTrain.Transport.Tests.Grpc.Echo;
using Google.Protobuf;

namespace DistTrain.Transport.Tests.Grpc;

public sealed class FramingTests
{
    private static readonly Blob Small = new() { Id = 300, Name = "größe", Marks = { 1, 2, 3 }, Weight = 0.25 };

    public static TheoryData<bool> BothSides => [true, false];

    private static Blob WithPayload(int length)
    {
        Blob blob = Small.Clone();
        blob.Payload = ByteString.CopyFrom(SinkRecord.Pattern(length));
        return blob;
    }

    private static MessageDecoder<Blob> Decoder(bool server, IEnumerable<ReadOnlyMemory<byte>> pieces, int maxSize = 1 << 20, bool gzip = false) =>
        server ? Frames.OverPipe(pieces, maxSize, gzip) : Frames.OverStream(pieces, maxSize, gzip);

    [Theory]
    [MemberData(nameof(BothSides))]
    public async Task Decoder_SplitAtEveryOffset_GivesTheSameMessages(bool server)
    {
        byte[] bytes = [.. Frames.Of(WithPayload(50)), .. Frames.Of(new Blob()), .. Frames.Of(Small), .. Frames.Of(WithPayload(1))];
        string[] lines = [SinkRecord.Line(Small, SinkRecord.Pattern(50)), SinkRecord.Line(new Blob(), []), SinkRecord.Line(Small, []), SinkRecord.Line(Small, SinkRecord.Pattern(1))];
        for (int i = 0; i <= bytes.Length; i++)
        {
            using MessageDecoder<Blob> decoder = Decoder(server, Frames.Split(bytes, i));
            foreach (Blob expected in (Blob[])[WithPayload(50), new Blob(), Small, WithPayload(1)]) Assert.Equal(expected, await decoder.ReadAsync(default));
            Assert.Null(await decoder.ReadAsync(default));

            var sink = new SinkRecord();
            using MessageDecoder<Blob> second = Decoder(server, Frames.Split(bytes, i));
            while (await second.ReadAsync(sink, default)) { }
            Assert.Equal(lines, sink.Completed);
        }
    }

    [Theory]
    [MemberData(nameof(BothSides))]
    public async Task Decoder_ByteByByte_GivesTheSameMessages(bool server)
    {
        byte[] bytes = [.. Frames.Of(WithPayload(20_000)), .. Frames.Of(WithPayload(3))];
        var sink = new SinkRecord();
        using MessageDecoder<Blob> decoder = Decoder(server, Frames.Bytewise(bytes));
        while (await decoder.ReadAsync(sink, default)) { }
        Assert.Equal([SinkRecord.Line(Small, SinkRecord.Pattern(20_000)), SinkRecord.Line(Small, SinkRecord.Pattern(3))], sink.Completed);
    }

    [Theory]
    [MemberData(nameof(BothSides))]
    public async Task Decoder_CutAtEveryOffset_IsInternalAndAborts(bool server)
    {
        byte[] bytes = Frames.Of(WithPayload(40));
        for (int i = 1; i < bytes.Length; i++)
        {
            var sink = new SinkRecord();
            using MessageDecoder<Blob> decoder = Decoder(server, [bytes.AsMemory(0, i)]);
            GrpcException e = await Assert.ThrowsAsync<GrpcException>(() => decoder.ReadAsync(sink, default).AsTask());
            Assert.Equal(GrpcStatusCode.Internal, e.Code);
            Assert.Empty(sink.Completed);
            Assert.Equal(i >= bytes.Length - 40 ? 1 : 0, sink.Aborted.CurrentCount);
        }
    }

    [Theory]
    [MemberData(nameof(BothSides))]
    public async Task Decoder_FieldsInForeignOrder_GivesTheSameMessage(bool server)
    {
        byte[] header = Small.ToByteArray();
        byte[] payload = new Blob { Payload = ByteString.CopyFrom(SinkRecord.Pattern(70)) }.ToByteArray();
        byte[] other = new Blob { Payload = ByteString.CopyFrom(SinkRecord.Pattern(9)) }.ToByteArray();
        byte[] group = [0xA3, 0x01, 0x08, 0x05, 0xA4, 0x01];
        byte[][] messages =
        [
            [.. header, .. payload],
            [.. payload, .. header],
            [.. other, .. header, .. payload],
            [.. header, .. other, .. payload],
            [.. header, .. group, .. payload],
            [.. new Blob { Id = 300 }.ToByteArray(), .. payload, .. new Blob { Name = "größe", Marks = { 1, 2, 3 }, Weight = 0.25 }.ToByteArray()],
            [.. header, 0x7A, 0xC6, 0x80, 0x00, .. payload[2..]],
            [.. new Blob { Name = new string('x', 9000) }.ToByteArray(), .. header, .. payload],
        ];
        foreach (byte[] message in messages)
        {
            var sink = new SinkRecord();
            using MessageDecoder<Blob> decoder = Decoder(server, Frames.Split(Frames.Of(message), 7, 20));
            while (await decoder.ReadAsync(sink, default)) { }
            Assert.Equal([SinkRecord.Line(Small, SinkRecord.Pattern(70))], sink.Completed);
        }
    }

    [Theory]
    [MemberData(nameof(BothSides))]
    public async Task Decoder_Garbage_EndsWithAStatus(bool server)
    {
        var random = new Random(7);
        byte[] valid = Frames.Of(WithPayload(200));
        for (int round = 0; round < 3000; round++)
        {
            byte[] bytes = new byte[random.Next(1, 300)];
            random.NextBytes(bytes);
            if (round % 3 == 1)
            {
                // A true prefix ahead of nonsense.
                bytes = Frames.Of(bytes, (byte)(round % 2));
            }
            else if (round % 3 == 2)
            {
                bytes = [.. valid];
                for (int k = 0; k < 4; k++) bytes[random.Next(bytes.Length)] = (byte)random.Next(256);
            }

            var sink = new SinkRecord();
            using MessageDecoder<Blob> decoder = Decoder(server, Frames.Split(bytes, random.Next(bytes.Length)), maxSize: 4096, gzip: true);
            try
            {
                while (round % 2 == 0 ? await decoder.ReadAsync(sink, default) : await decoder.ReadAsync(default) is not null) { }
            }
            catch (GrpcException e)
            {
                Assert.True(e.Code is GrpcStatusCode.Internal or GrpcStatusCode.ResourceExhausted, e.Message);
            }
        }
    }

    [Theory]
    [MemberData(nameof(BothSides))]
    public async Task Decoder_LengthOverLimit_IsResourceExhausted(bool server)
    {
        using MessageDecoder<Blob> decoder = Decoder(server, [Frames.Prefix(0, 1001), new byte[500]], maxSize: 1000);
        GrpcException e = await Assert.ThrowsAsync<GrpcException>(() => decoder.ReadAsync(default).AsTask());
        Assert.Equal(GrpcStatusCode.ResourceExhausted, e.Code);
        Assert.Contains("1001", e.Detail, StringComparison.Ordinal);
    }

    [Fact]
    public void PooledBytes_AnnouncedButNotCome_TakesLittleMemory()
    {
        long before = GC.GetAllocatedBytesForCurrentThread();
        using var bytes = new PooledBytes(1 << 30);
        Assert.InRange(bytes.Free().Length, 1, 1 << 20);
        Assert.InRange(GC.GetAllocatedBytesForCurrentThread() - before, 0, 1 << 20);
    }

    [Theory]
    [MemberData(nameof(BothSides))]
    public async Task Decoder_GzipBomb_IsResourceExhausted(bool server)
    {
        byte[] bomb = Frames.Gzip(new byte[50 << 20]);
        using MessageDecoder<Blob> decoder = Decoder(server, [Frames.Of(bomb, flag: 1)], maxSize: 1 << 20, gzip: true);
        GrpcException e = await Assert.ThrowsAsync<GrpcException>(() => decoder.ReadAsync(default).AsTask());
        Assert.Equal(GrpcStatusCode.ResourceExhausted, e.Code);
    }

    [Theory]
    [MemberData(nameof(BothSides))]
    public async Task Decoder_CompressedPayloadMessage_ReachesTheSink(bool server)
    {
        var sink = new SinkRecord();
        using MessageDecoder<Blob> decoder = Decoder(server, [Frames.Of(Frames.Gzip(WithPayload(5000).ToByteArray()), flag: 1)], gzip: true);
        Assert.True(await decoder.ReadAsync(sink, default));
        Assert.Equal([SinkRecord.Line(Small, SinkRecord.Pattern(5000))], sink.Completed);
    }

    [Fact]
    public async Task Decoder_CompressedExactlyToTheLimit_IsRead()
    {
        byte[] message = WithPayload(5000).ToByteArray();
        using MessageDecoder<Blob> decoder = Frames.OverStream([Frames.Of(Frames.Gzip(message), flag: 1)], maxSize: message.Length, gzip: true);
        Assert.Equal(WithPayload(5000), await decoder.ReadAsync(default));
    }

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    public async Task Decoder_FlagThatMeansNothingHere_IsInternal(byte flag)
    {
        using MessageDecoder<Blob> decoder = Frames.OverStream([Frames.Of(Small, flag)]);
        GrpcException e = await Assert.ThrowsAsync<GrpcException>(() => decoder.ReadAsync(default).AsTask());
        Assert.Equal(GrpcStatusCode.Internal, e.Code);
    }

    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    [InlineData(200)]
    [InlineData(100_000)]
    public async Task Encoder_PayloadMessage_IsTheSameProtobufToEveryone(int length)
    {
        var target = new RecordingTarget();
        byte[] payload = SinkRecord.Pattern(length);
        await new MessageEncoder<Blob>(1 << 20, gzip: false).WriteAsync(target, Small, payload, default);
        Assert.Equal(Frames.Of(WithPayload(length)), target.Bytes.ToArray());
    }

    [Fact]
    public async Task Encoder_PayloadTwice_IsRefused() => await Assert.ThrowsAsync<ArgumentException>(
        () => new MessageEncoder<Blob>(1 << 20, gzip: false).WriteAsync(new RecordingTarget(), WithPayload(1), new byte[1], default).AsTask());

    [Fact]
    public async Task Encoder_NoPayloadMessage_IsRefused()
    {
        InvalidOperationException e = await Assert.ThrowsAsync<InvalidOperationException>(
            () => new MessageEncoder<Item>(1 << 20, gzip: false).WriteAsync(new RecordingTarget(), new Item(), new byte[1], default).AsTask());
        Assert.Contains("disttrain.test.v1.Item", e.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Encoder_PlainMessages_AllocateNothingAfterWarmUp()
    {
        var encoder = new MessageEncoder<Blob>(1 << 20, gzip: false);
        var target = new NullTarget();
        for (int i = 0; i < 100; i++) await encoder.WriteAsync(target, Small, SinkBytes, default);
        long before = GC.GetAllocatedBytesForCurrentThread();
        for (int i = 0; i < 100; i++) await encoder.WriteAsync(target, Small, SinkBytes, default);
        Assert.Equal(0, GC.GetAllocatedBytesForCurrentThread() - before);
    }

    private static readonly byte[] SinkBytes = new byte[1000];

    private sealed class RecordingTarget : ByteTarget
    {
        public MemoryStream Bytes { get; } = new();

        public override ValueTask WriteAsync(ReadOnlyMemory<byte> bytes, bool more, CancellationToken cancellation)
        {
            Bytes.Write(bytes.Span);
            return default;
        }
    }

    private sealed class NullTarget : ByteTarget
    {
        public override ValueTask WriteAsync(ReadOnlyMemory<byte> bytes, bool more, CancellationToken cancellation) => default;
    }
}
