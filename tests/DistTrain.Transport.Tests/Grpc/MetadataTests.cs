using DistTrain.Transport.Grpc;
using DistTrain.Transport.Tests.Grpc.Echo;

namespace DistTrain.Transport.Tests.Grpc;

public sealed class MetadataTests
{
    [Fact]
    public async Task Metadata_BothWays_ComesAsItWent()
    {
        await using EchoFixture echo = await EchoFixture.StartAsync();
        byte[] bytes = [0, 1, 127, 128, 255];
        GrpcMetadata metadata = new GrpcMetadata().Add("x-echo", "one, two").Add("x-echo-bin", bytes).Add("x-echo-2-bin", []);
        using var call = echo.Channel.Send(EchoMethods.Say, new Item(), new() { Metadata = metadata });
        GrpcMetadata headers = await call.GetHeadersAsync();
        Assert.Equal("one, two", headers.Get("x-head"));
        Assert.Equal(bytes, headers.GetBytes("x-head-bin"));
        Assert.Equal([], headers.GetBytes("x-head-2-bin")!);
        Assert.NotNull(await call.Responses.ReadAsync());
        Assert.Equal("one, two", call.Trailers.Get("x-trail"));
        Assert.Equal(bytes, call.Trailers.GetBytes("x-trail-bin"));
        Assert.DoesNotContain(headers.Concat(call.Trailers), e => e.Key.StartsWith("grpc-", StringComparison.Ordinal));
    }

    [Theory]
    [InlineData("AAECAw==")]
    [InlineData("AAECAw")]
    public void WireBytes_WithAndWithoutPadding_AreDecoded(string text)
    {
        GrpcMetadata metadata = [];
        metadata.AddWire("X-Key-Bin", text + "," + text);
        Assert.Equal(2, metadata.Count);
        Assert.Equal([0, 1, 2, 3], metadata.GetBytes("x-key-bin")!);
    }

    [Fact]
    public void WireBytes_NotBase64_AreLeftOut()
    {
        GrpcMetadata metadata = [];
        metadata.AddWire("key-bin", "!!!");
        Assert.Empty(metadata);
    }

    [Theory]
    [InlineData("Upper", "x")]
    [InlineData("", "x")]
    [InlineData("sp ace", "x")]
    [InlineData("grpc-mine", "x")]
    [InlineData("x-bin", "x")]
    [InlineData("x", "line\nfeed")]
    [InlineData("x", "ü")]
    [InlineData("x", " x")]
    [InlineData("x", "")]
    public void Add_WhatCannotTravel_IsRefused(string key, string value) =>
        Assert.Throws<ArgumentException>(() => new GrpcMetadata().Add(key, value));

    [Fact]
    public void Add_BytesUnderATextKey_AreRefused() => Assert.Throws<ArgumentException>(() => new GrpcMetadata().Add("x", [1]));

    [Fact]
    public void Empty_CannotBeChanged() => Assert.Throws<InvalidOperationException>(() => GrpcMetadata.Empty.Add("x", "y"));
}
