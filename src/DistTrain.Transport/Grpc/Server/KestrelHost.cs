using System.Net;
using System.Net.Security;
using System.Net.Sockets;
using System.Security.Authentication;
using System.Security.Cryptography.X509Certificates;
using DistTrain.Core;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Connections;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Hosting.Server;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Http.Features;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.AspNetCore.Server.Kestrel.Https;
using Microsoft.AspNetCore.Server.Kestrel.Transport.Sockets;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Options;

namespace DistTrain.Transport.Grpc;

/// <summary>
/// Kestrel without a host around it: every worker process pays for its start, and the signals belong to the process.
/// Only TLS needs services that nothing but the web host's builder can register.
/// </summary>
internal sealed class KestrelHost : IAsyncDisposable
{
    private readonly IServer _server;
    private readonly IAsyncDisposable? _services;
    private readonly List<ListenOptions> _listening;

    private KestrelHost(IServer server, IAsyncDisposable? services, List<ListenOptions> listening) =>
        (_server, _services, _listening) = (server, services, listening);

    public static KestrelHost Create(GrpcServerOptions options)
    {
        var listening = new List<ListenOptions>();
        if (options.Tls is { } tls)
        {
            TlsHandshakeCallbackOptions handshake = Handshake(tls);
            WebApplicationBuilder builder = WebApplication.CreateEmptyBuilder(new());
            builder.Services.AddSingleton(options.Logging);
            builder.WebHost.UseKestrelCore().UseKestrelHttpsConfiguration().ConfigureKestrel(kestrel => Configure(kestrel, options, handshake, listening));
            WebApplication app = builder.Build();
            return new(app.Services.GetRequiredService<IServer>(), app, listening);
        }

        ServiceProvider services = new ServiceCollection().AddSingleton(options.Logging).AddLogging().BuildServiceProvider();
        var kestrel = new KestrelServerOptions { ApplicationServices = services };
        Configure(kestrel, options, null, listening);
        var transport = new SocketTransportFactory(Options.Create(new SocketTransportOptions()), options.Logging);
        return new(new KestrelServer(Options.Create(kestrel), transport, options.Logging), services, listening);
    }

    public async Task<IReadOnlyList<IPEndPoint>> StartAsync(CallDispatcher dispatcher, CancellationToken cancellation)
    {
        try
        {
            await _server.StartAsync(dispatcher, cancellation);
        }
        catch (Exception e) when (Reason(e) is not null)
        {
            string where = string.Join(" or ", _listening.Select(l => l.IPEndPoint));
            throw new DistTrainException(ExitCode.BadUsage, $"cannot listen on {where}: {Reason(e)}", e);
        }

        return [.. _listening.Select(l => l.IPEndPoint!)];
    }

    public async Task StopAsync(TimeSpan grace)
    {
        using var source = new CancellationTokenSource(grace);
        await _server.StopAsync(source.Token);
    }

    public async ValueTask DisposeAsync()
    {
        _server.Dispose();
        if (_services is not null) await _services.DisposeAsync();
    }

    private static void Configure(KestrelServerOptions kestrel, GrpcServerOptions options, TlsHandshakeCallbackOptions? tls, List<ListenOptions> listening)
    {
        kestrel.AddServerHeader = false;
        kestrel.AllowSynchronousIO = false;
        KestrelServerLimits limits = kestrel.Limits;
        limits.MaxRequestBodySize = null;
        limits.MinRequestBodyDataRate = null;
        limits.MinResponseDataRate = null;
        limits.MaxResponseBufferSize = 1 << 20;
        limits.Http2.MaxStreamsPerConnection = 1024;
        limits.Http2.MaxFrameSize = 64 << 10;
        limits.Http2.InitialStreamWindowSize = 4 << 20;
        limits.Http2.InitialConnectionWindowSize = 16 << 20;
        limits.Http2.KeepAlivePingDelay = options.KeepAlivePingDelay;
        limits.Http2.KeepAlivePingTimeout = options.KeepAlivePingTimeout;
        foreach (IPEndPoint endpoint in options.Listen)
        {
            kestrel.Listen(endpoint, listen =>
            {
                listen.Protocols = HttpProtocols.Http2;
                if (tls is not null) listen.UseHttps(tls);
                listening.Add(listen);
            });
        }
    }

    private static TlsHandshakeCallbackOptions Handshake(GrpcServerTls tls)
    {
        SslStreamCertificateContext identity = PemFiles.Identity(tls.CertificateFile, tls.KeyFile);
        X509ChainPolicy? clients = tls.ClientAuthorityFile is { } file ? PemFiles.Trust(file) : null;
        return new()
        {
            OnConnection = _ => new(new SslServerAuthenticationOptions
            {
                ServerCertificateContext = identity,
                ApplicationProtocols = [SslApplicationProtocol.Http2],
                EnabledSslProtocols = SslProtocols.Tls12 | SslProtocols.Tls13,
                ClientCertificateRequired = clients is not null,
                CertificateChainPolicy = clients?.Clone(),
            }),
        };
    }

    private static string? Reason(Exception exception)
    {
        for (Exception? e = exception; e is not null; e = e.InnerException)
        {
            if (e is AddressInUseException) return "address in use";
            if (e is SocketException { SocketErrorCode: SocketError.AddressAlreadyInUse }) return "address in use";
            if (e is SocketException { SocketErrorCode: SocketError.AddressNotAvailable }) return "no such address on this machine";
            if (e is SocketException { SocketErrorCode: SocketError.AccessDenied }) return "permission denied";
            if (e is SocketException socket) return socket.Message;
        }

        return null;
    }
}
