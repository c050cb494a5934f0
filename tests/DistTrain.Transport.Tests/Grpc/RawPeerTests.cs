using System.Net;
using System.Net.Sockets;
using DistTrain.Transport.Grpc;
using DistTrain.Transport.Tests.Grpc.Echo;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Http.Features;
using Microsoft.AspNetCore.Server.Kestrel.Core;

namespace DistTrain.Transport.Tests.Grpc;

/// <summary>What the client makes of peers that answer with something else than regular gRPC.</summary>
public sealed class RawPeerTests
{
    private static async Task<GrpcException> CallAsync(RequestDelegate answer, GrpcMethod<Item, Item>? method = null)
    {
        WebApplicationBuilder builder = WebApplication.CreateEmptyBuilder(new());
        ListenOptions? listen = null;
        builder.WebHost.UseKestrelCore().ConfigureKestrel(kestrel => kestrel.Listen(IPAddress.Loopback, 0, options => (listen = options).Protocols = HttpProtocols.Http2));
        await using WebApplication app = builder.Build();
        app.Run(answer);
        await app.StartAsync();
        using var channel = new GrpcChannel($"http://{listen!.IPEndPoint}");
        return await Assert.ThrowsAsync<GrpcException>(() => channel.UnaryAsync(method ?? EchoMethods.Say, new Item()));
    }

    private static RequestDelegate Body(byte[] bytes, string? status = "0", string? encoding = null) => async context =>
    {
        context.Response.ContentType = "application/grpc";
        if (encoding is not null) context.Response.Headers["grpc-encoding"] = encoding;
        await context.Response.BodyWriter.WriteAsync(bytes);
        if (status is not null) context.Response.AppendTrailer("grpc-status", status);
    };

    [Theory]
    [InlineData(400, GrpcStatusCode.Internal)]
    [InlineData(401, GrpcStatusCode.Unauthenticated)]
    [InlineData(403, GrpcStatusCode.PermissionDenied)]
    [InlineData(404, GrpcStatusCode.Unimplemented)]
    [InlineData(429, GrpcStatusCode.Unavailable)]
    [InlineData(500, GrpcStatusCode.Unknown)]
    [InlineData(502, GrpcStatusCode.Unavailable)]
    [InlineData(503, GrpcStatusCode.Unavailable)]
    [InlineData(504, GrpcStatusCode.Unavailable)]
    public async Task Http_OtherThanOk_IsMapped(int http, GrpcStatusCode code)
    {
        GrpcException e = await CallAsync(context =>
        {
            context.Response.StatusCode = http;
            return context.Response.WriteAsync("<html>");
        });
        Assert.Equal(code, e.Code);
        Assert.Contains($"{http}", e.Detail, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Http_OtherContent_IsUnknown()
    {
        GrpcException e = await CallAsync(context =>
        {
            context.Response.ContentType = "text/html";
            return context.Response.WriteAsync("<html>");
        });
        Assert.Equal(GrpcStatusCode.Unknown, e.Code);
        Assert.Contains("text/html", e.Detail, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Status_Missing_IsUnknown() => Assert.Equal(GrpcStatusCode.Unknown, (await CallAsync(Body(Frames.Of(new Item()), status: null))).Code);

    [Theory]
    [InlineData("xyz")]
    [InlineData("77")]
    public async Task Status_None_IsUnknownAndQuoted(string status)
    {
        GrpcException e = await CallAsync(Body([], status));
        Assert.Equal(GrpcStatusCode.Unknown, e.Code);
        Assert.Contains(status, e.Detail, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Body_CutInAMessage_IsInternal() => Assert.Equal(GrpcStatusCode.Internal, (await CallAsync(Body([0, 0, 0, 0, 9, 1, 2]))).Code);

    [Fact]
    public async Task Body_Garbage_IsInternalOrTooLarge()
    {
        var random = new Random(3);
        for (int round = 0; round < 20; round++)
        {
            byte[] bytes = new byte[random.Next(6, 200)];
            random.NextBytes(bytes);
            GrpcException e = await CallAsync(Body(round % 2 == 0 ? bytes : Frames.Of([0xFF, .. bytes])));
            Assert.True(e.Code is GrpcStatusCode.Internal or GrpcStatusCode.ResourceExhausted, e.Message);
        }
    }

    [Fact]
    public async Task Encoding_Unknown_IsInternalAndNamed()
    {
        GrpcException e = await CallAsync(Body(Frames.Of([1, 2, 3], flag: 1), encoding: "snappy"));
        Assert.Equal(GrpcStatusCode.Internal, e.Code);
        Assert.Contains("snappy", e.Detail, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(0x2, GrpcStatusCode.Internal)]
    [InlineData(0x7, GrpcStatusCode.Unavailable)]
    [InlineData(0x8, GrpcStatusCode.Cancelled)]
    [InlineData(0xb, GrpcStatusCode.ResourceExhausted)]
    [InlineData(0xc, GrpcStatusCode.PermissionDenied)]
    public async Task Stream_Reset_IsMapped(int http2, GrpcStatusCode code)
    {
        GrpcException e = await CallAsync(async context =>
        {
            context.Response.ContentType = "application/grpc";
            await context.Response.BodyWriter.FlushAsync();
            context.Features.GetRequiredFeature<IHttpResetFeature>().Reset(http2);
        });
        Assert.Equal(code, e.Code);
    }

    [Fact]
    public async Task Peer_NoHttp2_IsUnavailable()
    {
        using var listener = new TcpListener(IPAddress.Loopback, 0);
        listener.Start();
        using var channel = new GrpcChannel($"http://{listener.LocalEndpoint}");
        Task<Item> call = channel.UnaryAsync(EchoMethods.Say, new Item());
        using TcpClient peer = await listener.AcceptTcpClientAsync();
        await peer.GetStream().WriteAsync("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"u8.ToArray());
        GrpcException e = await Assert.ThrowsAsync<GrpcException>(() => call);
        Assert.Equal(GrpcStatusCode.Unavailable, e.Code);
    }

    /// <summary>A process that is killed while others connect: now and then even asking for the peer's address fails.</summary>
    [Fact]
    public async Task Connection_ResetAtOnce_IsUnavailable()
    {
        using var listener = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        listener.Bind(new IPEndPoint(IPAddress.Loopback, 0));
        listener.Listen(16);
        using var ending = new CancellationTokenSource();
        Task resetting = Task.Run(async () =>
        {
            try
            {
                while (true) (await listener.AcceptAsync(ending.Token)).Close(0);
            }
            catch (OperationCanceledException)
            {
            }
        });
        for (int i = 0; i < 100; i++)
        {
            using var channel = new GrpcChannel($"http://{listener.LocalEndPoint}");
            GrpcException e = await Assert.ThrowsAsync<GrpcException>(() => channel.UnaryAsync(EchoMethods.Say, new Item()));
            Assert.Equal(GrpcStatusCode.Unavailable, e.Code);
        }

        await ending.CancelAsync();
        await resetting;
    }

    [Fact]
    public void Exceptions_OfTheTransport_AreToldFromOthers()
    {
        Assert.All((Exception[])[new SocketException((int)SocketError.NotConnected), new IOException(), new HttpRequestException(), new OperationCanceledException()], e => Assert.True(TransportErrors.Interrupts(e)));
        Assert.All((Exception[])[new FormatException(), new GrpcException(GrpcStatusCode.Internal, "")], e => Assert.False(TransportErrors.Interrupts(e)));
        GrpcException lost = TransportErrors.ToGrpc(new SocketException((int)SocketError.NotConnected), new Uri("http://host:7000"), TimeSpan.Zero);
        Assert.Equal(GrpcStatusCode.Unavailable, lost.Code);
        Assert.StartsWith("the connection to host:7000 was lost: ", lost.Detail, StringComparison.Ordinal);
    }
}
