using System.Runtime.InteropServices;
using DistTrain.Transport.Grpc;
using DistTrain.Transport.Tests.Grpc.Echo;
using Google.Protobuf;

namespace DistTrain.Transport.Tests.Grpc;

public sealed class PayloadTests
{
    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    [InlineData(127)]
    [InlineData(128)]
    [InlineData(16384)]
    [InlineData(1 << 20)]
    [InlineData(64 << 20)]
    public async Task Upload_NativePayload_ArrivesInTheSink(int length)
    {
        await using EchoFixture echo = await EchoFixture.StartAsync();
        byte[] pattern = SinkRecord.Pattern(length);
        nint native = Marshal.AllocHGlobal(length + 1);
        try
        {
            Marshal.Copy(pattern, 0, native, length);
            using var call = echo.Channel.Open(EchoMethods.Upload);
            await call.Requests.WriteAsync(new Blob { Id = 1, Name = "a" }, new NativeBytes(native, length));
            await call.Requests.WriteAsync(new Blob { Id = 2, Name = "drop" }, new NativeBytes(native, length));
            await call.Requests.WriteAsync(new Blob { Id = 3, Name = "b", Payload = ByteString.CopyFrom(pattern) });
            Item reply = await call.FinishAsync();
            string expected = SinkRecord.Line(new Blob { Id = 1, Name = "a" }, pattern) + ";" + SinkRecord.Line(new Blob { Id = 3, Name = "b" }, pattern);
            Assert.Equal(expected, reply.Text);
            Assert.Equal([2], echo.Service.Sink.Dropped);
        }
        finally
        {
            Marshal.FreeHGlobal(native);
        }
    }

    [Fact]
    public async Task Download_Payloads_ArriveInTheSinkAndAsMessages()
    {
        await using EchoFixture echo = await EchoFixture.StartAsync();
        byte[] pattern = SinkRecord.Pattern(3_000_000);
        var sink = new SinkRecord();
        using var call = echo.Channel.Send(EchoMethods.Download, new Item { Number = pattern.Length, Text = "w", Data = ByteString.CopyFrom(1, 1, 1) });
        Assert.True(await call.Responses.ReadAsync(sink));
        Blob? whole = await call.Responses.ReadAsync();
        Assert.True(await call.Responses.ReadAsync(sink));
        Assert.False(await call.Responses.ReadAsync(sink));
        Assert.Equal(new Blob { Id = 1, Name = "w", Payload = ByteString.CopyFrom(pattern) }, whole);
        Assert.Equal([SinkRecord.Line(new Blob { Id = 0, Name = "w" }, pattern), SinkRecord.Line(new Blob { Id = 2, Name = "w" }, pattern)], sink.Completed);
    }
}
