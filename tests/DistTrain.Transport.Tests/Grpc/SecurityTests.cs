using DistTrain.Core;
using DistTrain.Transport.Grpc;
using DistTrain.Transport.Tests.Grpc.Echo;

namespace DistTrain.Transport.Tests.Grpc;

public sealed class SecurityTests : IDisposable
{
    private readonly TestCertificates _files = new();

    public void Dispose() => _files.Dispose();

    private GrpcServerOptions Options(bool mutual) =>
        EchoFixture.Loopback with { Tls = new(_files.ServerCertificate, _files.ServerKey, mutual ? _files.Authority : null) };

    [Fact]
    public async Task Tls_TrustedAuthority_Works()
    {
        await using EchoFixture echo = await EchoFixture.StartAsync(Options(mutual: false), new() { Tls = new(_files.Authority) });
        Assert.Equal(4, (await echo.Channel.UnaryAsync(EchoMethods.Say, new Item { Number = 4 })).Number);
    }

    [Fact]
    public async Task Tls_OtherAuthority_IsUnavailableAndSaysTls()
    {
        using var other = new TestCertificates();
        await using EchoFixture echo = await EchoFixture.StartAsync(Options(mutual: false), new() { Tls = new(other.Authority) });
        GrpcException e = await Assert.ThrowsAsync<GrpcException>(() => echo.Channel.UnaryAsync(EchoMethods.Say, new Item()));
        Assert.Equal(GrpcStatusCode.Unavailable, e.Code);
        Assert.Contains("TLS", e.Detail, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Tls_OtherName_IsRefusedUnlessToldTheName()
    {
        GrpcServerOptions options = Options(mutual: false) with { Tls = new(_files.NamedCertificate, _files.NamedKey) };
        await using EchoFixture echo = await EchoFixture.StartAsync(options, new() { Tls = new(_files.Authority) });
        GrpcException e = await Assert.ThrowsAsync<GrpcException>(() => echo.Channel.UnaryAsync(EchoMethods.Say, new Item()));
        Assert.Equal(GrpcStatusCode.Unavailable, e.Code);
        using var channel = new GrpcChannel(echo.Channel.Address.ToString(), new() { Tls = new(_files.Authority, ServerName: "train.example") });
        Assert.Equal(4, (await channel.UnaryAsync(EchoMethods.Say, new Item { Number = 4 })).Number);
    }

    [Fact]
    public async Task MutualTls_ClientCertificate_IsDemandedAndSeen()
    {
        var who = new GrpcMethod<Item, Item>(GrpcMethodKind.Unary, "/disttrain.test.v1.Echo/Who");
        await using EchoFixture echo = await EchoFixture.StartAsync(
            Options(mutual: true),
            new() { Tls = new(_files.Authority, _files.ClientCertificate, _files.ClientKey) },
            server => server.HandleUnary(who, (_, call) => Task.FromResult(new Item { Text = call.ClientCertificate!.Subject })));
        Assert.Equal("CN=worker", (await echo.Channel.UnaryAsync(who, new Item())).Text);

        using var stranger = new GrpcChannel(echo.Channel.Address.ToString(), new() { Tls = new(_files.Authority) });
        GrpcException e = await Assert.ThrowsAsync<GrpcException>(() => stranger.UnaryAsync(who, new Item()));
        Assert.Equal(GrpcStatusCode.Unavailable, e.Code);

        using var other = new TestCertificates();
        using var impostor = new GrpcChannel(echo.Channel.Address.ToString(), new() { Tls = new(_files.Authority, other.ClientCertificate, other.ClientKey) });
        e = await Assert.ThrowsAsync<GrpcException>(() => impostor.UnaryAsync(who, new Item()));
        Assert.Equal(GrpcStatusCode.Unavailable, e.Code);
    }

    [Fact]
    public void Tls_FilesThatAreNone_AreNamed()
    {
        string missing = Path.Combine(Path.GetTempPath(), "no-such-certificate.pem");
        Assert.Contains(missing, Message(new(missing, _files.ServerKey)), StringComparison.Ordinal);
        Assert.Contains(_files.ServerKey, Message(new(_files.ServerCertificate, _files.ServerKey, _files.ServerKey)), StringComparison.Ordinal);
        Assert.Contains(_files.ClientKey, Message(new(_files.ServerCertificate, _files.ClientKey)), StringComparison.Ordinal);

        static string Message(GrpcServerTls tls)
        {
            DistTrainException e = Assert.Throws<DistTrainException>(() => KestrelHost.Create(EchoFixture.Loopback with { Tls = tls }));
            Assert.Equal(ExitCode.BadUsage, e.ExitCode);
            return e.Message;
        }
    }

    [Fact]
    public async Task Token_RightOne_IsLetIn()
    {
        await using EchoFixture echo = await EchoFixture.StartAsync(EchoFixture.Loopback with { BearerToken = "secret" }, new() { BearerToken = "secret" });
        Assert.Equal(4, (await echo.Channel.UnaryAsync(EchoMethods.Say, new Item { Number = 4 })).Number);
    }

    [Theory]
    [InlineData(null)]
    [InlineData("")]
    [InlineData("secre")]
    [InlineData("secret2")]
    public async Task Token_WrongOrMissing_IsUnauthenticatedButHealthAnswers(string? token)
    {
        await using EchoFixture echo = await EchoFixture.StartAsync(EchoFixture.Loopback with { BearerToken = "secret" }, new() { BearerToken = token });
        GrpcException e = await Assert.ThrowsAsync<GrpcException>(() => echo.Channel.UnaryAsync(EchoMethods.Say, new Item()));
        Assert.Equal(GrpcStatusCode.Unauthenticated, e.Code);
        using var call = echo.Channel.Open(ReflectionService.V1);
        call.CompleteRequests();
        e = await Assert.ThrowsAsync<GrpcException>(() => call.Responses.ReadAsync().AsTask());
        Assert.Equal(GrpcStatusCode.Unauthenticated, e.Code);
        Assert.Equal(Transport.Grpc.HealthV1.HealthCheckResponse.Types.ServingStatus.Serving, (await echo.Channel.UnaryAsync(HealthService.Check, new())).Status);
    }
}
