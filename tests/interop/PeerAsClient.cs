using DistTrain.Transport.Grpc;
using DistTrain.Transport.Tests.Grpc;

namespace DistTrain.Interop.Tests;

/// <summary>One client process for all the tests of a class.</summary>
public abstract class ClientPeer(PeerProcess process) : IDisposable
{
    public PeerProcess Process => process;

    public abstract PeerProcess Another();

    public void Dispose()
    {
        process.Dispose();
        GC.SuppressFinalize(this);
    }
}

public sealed class PythonClient() : ClientPeer(Start())
{
    public override PeerProcess Another() => Start();

    private static PeerProcess Start() => PeerProcess.Python("echo_client.py");
}

public sealed class NodeClient() : ClientPeer(Start())
{
    public override PeerProcess Another() => Start();

    private static PeerProcess Start() => PeerProcess.Node("echo_client.js");
}

/// <summary>What every stock client must be able to do with our server. The scenarios themselves stand in the peers' scripts.</summary>
public abstract class PeerAsClient<TPeer>(TPeer peer) : IClassFixture<TPeer>
    where TPeer : ClientPeer
{
    private static async Task<EchoFixture> StartAsync(GrpcServerOptions? options = null) => await EchoFixture.StartAsync(options);

    private void Run(string scenario, EchoFixture echo, params string[] arguments) => peer.Process.Run(scenario, [echo.Server.Endpoints[0].ToString(), .. arguments]);

    [Theory]
    [InlineData("unary")]
    [InlineData("server_streaming")]
    [InlineData("client_streaming")]
    [InlineData("duplex")]
    [InlineData("statuses")]
    [InlineData("metadata")]
    [InlineData("deflate")]
    [InlineData("large")]
    [InlineData("too_large_response")]
    [InlineData("unimplemented")]
    [InlineData("garbage")]
    [InlineData("upload")]
    [InlineData("upload_foreign_order")]
    [InlineData("download")]
    [InlineData("health")]
    [InlineData("reflection")]
    public async Task Scenario_AgainstOurServer_Passes(string scenario)
    {
        await using EchoFixture echo = await StartAsync();
        Run(scenario, echo);
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task Gzip_RequestsAndResponses_AreUnderstood(bool responsesToo)
    {
        await using EchoFixture echo = await StartAsync(EchoFixture.Loopback with { Compress = responsesToo });
        Run("gzip", echo);
        Run("unary", echo);
    }

    [Fact]
    public async Task Deadline_OfTheClient_IsKnownAndEndsTheHandler()
    {
        await using EchoFixture echo = await StartAsync();
        Run("deadline", echo);
        Assert.True(await echo.Service.CancelledAsync());
        Assert.NotNull(echo.Service.LastDeadline);
    }

    [Fact]
    public async Task Cancel_AtTheClient_EndsTheHandler()
    {
        await using EchoFixture echo = await StartAsync();
        Run("cancel", echo);
        Assert.True(await echo.Service.CancelledAsync());
    }

    [Fact]
    public async Task Request_OverTheLimit_IsResourceExhausted()
    {
        await using EchoFixture echo = await StartAsync(EchoFixture.Loopback with { MaxReceiveMessageSize = 1 << 20 });
        Run("too_large_request", echo);
    }

    [Fact]
    public async Task Token_IsDemanded()
    {
        await using EchoFixture echo = await StartAsync(EchoFixture.Loopback with { BearerToken = "secret" });
        Run("token", echo);
        Run("health", echo);
    }

    [Fact]
    public async Task MutualTls_IsDemanded()
    {
        using var files = new TestCertificates();
        await using EchoFixture echo = await StartAsync(EchoFixture.Loopback with { Tls = new(files.ServerCertificate, files.ServerKey, files.Authority) });
        Run("mutual_tls", echo, files.Authority, files.ClientCertificate, files.ClientKey);
    }

    [Fact]
    public async Task Client_KilledInMidPayload_AbortsTheSinkAndTheServerLives()
    {
        await using EchoFixture echo = await StartAsync();
        var gate = new TaskCompletionSource();
        using var begun = new SemaphoreSlim(0);
        echo.Service.Sink.Before = () =>
        {
            begun.Release();
            return gate.Task;
        };
        using (PeerProcess victim = peer.Another())
        {
            victim.Write($"vanish {echo.Server.Endpoints[0]}");
            Assert.True(await begun.WaitAsync(TimeSpan.FromSeconds(60)));
            victim.Kill();
        }

        gate.SetResult();
        Assert.True(await echo.Service.Sink.Aborted.WaitAsync(TimeSpan.FromSeconds(60)));
        Assert.Empty(echo.Service.Sink.Completed);
        Run("unary", echo);
    }
}

public sealed class PythonAsClientTests(PythonClient peer) : PeerAsClient<PythonClient>(peer);

public sealed class NodeAsClientTests(NodeClient peer) : PeerAsClient<NodeClient>(peer);
