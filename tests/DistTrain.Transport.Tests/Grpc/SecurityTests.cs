using System.Net;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
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

/// <summary>An authority and certificates from it, as PEM files in a folder of their own.</summary>
internal sealed class TestCertificates : IDisposable
{
    private static readonly DateTimeOffset From = DateTimeOffset.UtcNow.AddDays(-1);
    private static readonly DateTimeOffset Until = DateTimeOffset.UtcNow.AddDays(30);
    private readonly DirectoryInfo _folder = Directory.CreateTempSubdirectory("disttrain-tls-");

    public TestCertificates()
    {
        using ECDsa key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var request = new CertificateRequest("CN=test authority", key, HashAlgorithmName.SHA256);
        request.CertificateExtensions.Add(new X509BasicConstraintsExtension(true, false, 0, true));
        request.CertificateExtensions.Add(new X509KeyUsageExtension(X509KeyUsageFlags.KeyCertSign | X509KeyUsageFlags.CrlSign, true));
        using X509Certificate2 authority = request.CreateSelfSigned(From, Until);
        Authority = Write("authority.pem", authority.ExportCertificatePem());
        (ServerCertificate, ServerKey) = Issue(authority, "server", "1.3.6.1.5.5.7.3.1", names => names.AddIpAddress(IPAddress.Loopback));
        (NamedCertificate, NamedKey) = Issue(authority, "named", "1.3.6.1.5.5.7.3.1", names => names.AddDnsName("train.example"));
        (ClientCertificate, ClientKey) = Issue(authority, "worker", "1.3.6.1.5.5.7.3.2", names => names.AddDnsName("worker.example"));
    }

    public string Authority { get; }

    public string ServerCertificate { get; }

    public string ServerKey { get; }

    public string NamedCertificate { get; }

    public string NamedKey { get; }

    public string ClientCertificate { get; }

    public string ClientKey { get; }

    public void Dispose() => _folder.Delete(recursive: true);

    private (string Certificate, string Key) Issue(X509Certificate2 authority, string name, string usage, Action<SubjectAlternativeNameBuilder> addNames)
    {
        using ECDsa key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var request = new CertificateRequest($"CN={name}", key, HashAlgorithmName.SHA256);
        var names = new SubjectAlternativeNameBuilder();
        addNames(names);
        request.CertificateExtensions.Add(names.Build());
        request.CertificateExtensions.Add(new X509EnhancedKeyUsageExtension([new Oid(usage)], false));
        using X509Certificate2 certificate = request.Create(authority, From, Until, RandomNumberGenerator.GetBytes(8));
        return (Write($"{name}.pem", certificate.ExportCertificatePem()), Write($"{name}.key", key.ExportPkcs8PrivateKeyPem()));
    }

    private string Write(string name, string text)
    {
        string path = Path.Combine(_folder.FullName, name);
        File.WriteAllText(path, text);
        return path;
    }
}
