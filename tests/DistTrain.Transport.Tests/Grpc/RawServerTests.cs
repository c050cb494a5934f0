using System.Net;
using DistTrain.Core;
using DistTrain.Transport.Grpc;
using DistTrain.Transport.Tests.Grpc.Echo;
using Google.Protobuf;

namespace DistTrain.Transport.Tests.Grpc;

/// <summary>What the server puts on the wire, and what it takes from it.</summary>
public sealed class RawServerTests
{
    private static async Task<(HttpResponseMessage Response, byte[] Body)> PostAsync(
        EchoFixture echo, GrpcMethod method, byte[] body, string contentType = "application/grpc", params (string Name, string Value)[] headers)
    {
        using var http = new HttpMessageInvoker(new SocketsHttpHandler());
        using HttpRequestMessage request = CancellationTests.RawRequest(echo, method, new ByteArrayContent(body), contentType);
        foreach ((string name, string value) in headers) request.Headers.TryAddWithoutValidation(name, value);
        HttpResponseMessage response = await http.SendAsync(request, default);
        return (response, await response.Content.ReadAsByteArrayAsync());
    }

    private static string? Header(System.Net.Http.Headers.HttpResponseHeaders headers, string name) =>
        headers.TryGetValues(name, out IEnumerable<string>? values) ? string.Join(',', values) : null;

    [Fact]
    public async Task Response_Regular_HasOneFrameAndTrailers()
    {
        await using EchoFixture echo = await EchoFixture.StartAsync();
        (HttpResponseMessage response, byte[] body) = await PostAsync(echo, EchoMethods.Say, Frames.Of(new Item { Number = 3 }));
        Assert.Equal(HttpStatusCode.OK, response.StatusCode);
        Assert.Equal("application/grpc", response.Content.Headers.ContentType!.MediaType);
        Assert.Equal(Frames.Of(new Item { Number = 3 }), body);
        Assert.Equal("0", Header(response.TrailingHeaders, "grpc-status"));
        Assert.Null(Header(response.Headers, "grpc-status"));
    }

    [Fact]
    public async Task Response_AtOnceAFailure_IsTrailersOnly()
    {
        await using EchoFixture echo = await EchoFixture.StartAsync();
        (HttpResponseMessage response, byte[] body) = await PostAsync(echo, EchoMethods.Fail, Frames.Of(new Item { Number = 5, Text = "größe" }));
        Assert.Equal(HttpStatusCode.OK, response.StatusCode);
        Assert.Empty(body);
        Assert.Equal(("5", "gr%C3%B6%C3%9Fe"), (Header(response.Headers, "grpc-status"), Header(response.Headers, "grpc-message")));
        Assert.Equal("AP+A", Header(response.Headers, "x-why-bin"));
    }

    [Fact]
    public async Task Response_ForAClientThatTakesGzip_IsCompressed()
    {
        await using EchoFixture echo = await EchoFixture.StartAsync(EchoFixture.Loopback with { Compress = true });
        byte[] request = Frames.Of(new Item { Text = new string('a', 10_000) });
        (HttpResponseMessage plain, byte[] plainBody) = await PostAsync(echo, EchoMethods.Say, request);
        (HttpResponseMessage gzip, byte[] gzipBody) = await PostAsync(echo, EchoMethods.Say, request, headers: ("grpc-accept-encoding", "deflate, gzip"));
        Assert.Equal((null, 0), (Header(plain.Headers, "grpc-encoding"), plainBody[0]));
        Assert.Equal(("gzip", 1), (Header(gzip.Headers, "grpc-encoding"), gzipBody[0]));
        Assert.InRange(gzipBody.Length, 10, 1000);
    }

    [Fact]
    public async Task Request_OfUnknownEncoding_IsUnimplementedAndNamesTheKnown()
    {
        await using EchoFixture echo = await EchoFixture.StartAsync();
        (HttpResponseMessage response, _) = await PostAsync(echo, EchoMethods.Say, Frames.Of(new Item(), 1), headers: ("grpc-encoding", "snappy"));
        Assert.Equal(("12", "identity,gzip"), (Header(response.Headers, "grpc-status"), Header(response.Headers, "grpc-accept-encoding")));
    }

    [Fact]
    public async Task Request_OfOtherContent_Is415()
    {
        await using EchoFixture echo = await EchoFixture.StartAsync();
        (HttpResponseMessage response, _) = await PostAsync(echo, EchoMethods.Say, Frames.Of(new Item()), contentType: "application/json");
        Assert.Equal(HttpStatusCode.UnsupportedMediaType, response.StatusCode);
    }

    [Fact]
    public async Task Request_WithBadTimeout_IsRefused()
    {
        await using EchoFixture echo = await EchoFixture.StartAsync();
        (HttpResponseMessage response, _) = await PostAsync(echo, EchoMethods.Say, Frames.Of(new Item()), headers: ("grpc-timeout", "soon"));
        Assert.Equal("13", Header(response.Headers, "grpc-status"));
    }

    [Fact]
    public async Task Requests_Garbage_EndWithAStatusAndTheServerLives()
    {
        await using EchoFixture echo = await EchoFixture.StartAsync(EchoFixture.Loopback with { MaxReceiveMessageSize = 1 << 20 });
        var random = new Random(11);
        GrpcMethod[] methods = [EchoMethods.Say, EchoMethods.Sum, EchoMethods.Chat, EchoMethods.Upload];
        for (int round = 0; round < 200; round++)
        {
            byte[] bytes = new byte[random.Next(1, 400)];
            random.NextBytes(bytes);
            if (round % 2 == 1) bytes = Frames.Of(bytes);
            (HttpResponseMessage response, _) = await PostAsync(echo, methods[round % methods.Length], bytes);
            string? status = Header(response.Headers, "grpc-status") ?? Header(response.TrailingHeaders, "grpc-status");
            Assert.Contains(status, new[] { "0", "8", "13" });
        }

        Assert.Equal(1, (await echo.Channel.UnaryAsync(EchoMethods.Say, new Item { Number = 1 })).Number);
    }

    [Fact]
    public async Task Start_PortInUse_SaysWhichAndWhy()
    {
        await using EchoFixture echo = await EchoFixture.StartAsync();
        await using var second = new GrpcServer(new() { Listen = [echo.Server.Endpoints[0]] });
        DistTrainException e = await Assert.ThrowsAsync<DistTrainException>(() => second.StartAsync());
        Assert.Equal((ExitCode.BadUsage, $"cannot listen on {echo.Server.Endpoints[0]}: address in use"), (e.ExitCode, e.Message));
    }

    [Fact]
    public async Task Start_SeveralAddresses_ListensOnAll()
    {
        await using EchoFixture echo = await EchoFixture.StartAsync(new() { Listen = [new(IPAddress.Loopback, 0), new(IPAddress.Loopback, 0)] });
        using var second = new GrpcChannel($"http://{echo.Server.Endpoints[1]}");
        Assert.NotEqual(echo.Server.Endpoints[0], echo.Server.Endpoints[1]);
        Assert.Equal(2, (await second.UnaryAsync(EchoMethods.Say, new Item { Number = 2 })).Number);
    }
}
