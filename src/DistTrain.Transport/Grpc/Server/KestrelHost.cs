using System.Diagnostics;
using System.Net;
using System.Net.Security;
using System.Net.Sockets;
using System.Security.Authentication;
using System.Security.Cryptography.X509Certificates;
using DistTrain.Core;
using Microsoft.AspNetCore.Connections;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Hosting.Server;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.AspNetCore.Server.Kestrel.Https;
using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.DependencyInjection;

namespace DistTrain.Transport.Grpc;

/// <summary>Kestrel without a host around it: every worker process pays for its start, and the signals belong to the process.</summary>
internal sealed class KestrelHost : IAsyncDisposable
{
    private readonly ServiceProvider _services;
    private readonly IServer _server;
    private readonly List<ListenOptions> _listening;

    private KestrelHost(ServiceProvider services, List<ListenOptions> listening) =>
        (_services, _server, _listening) = (services, services.GetRequiredService<IServer>(), listening);

    public static KestrelHost Create(GrpcServerOptions options)
    {
        var listening = new List<ListenOptions>();
        TlsHandshakeCallbackOptions? handshake = options.Tls is { } tls ? Handshake(tls) : null;
        var builder = new ServiceCollector();
        builder.Services.AddSingleton(options.Logging).AddSingleton<DiagnosticSource>(new DiagnosticListener("DistTrain.Grpc")).AddLogging().AddMetrics();
        builder.Services.AddSingleton<IMemoryPoolFactory<byte>>(new LargeBlocks());
        builder.UseKestrelCore().ConfigureKestrel(kestrel => Configure(kestrel, options, handshake, listening));
        return new(builder.Services.BuildServiceProvider(), listening);
    }

    public async Task<IReadOnlyList<IPEndPoint>> StartAsync(CallDispatcher dispatcher, CancellationToken cancellation)
    {
        try
        {
            await _server.StartAsync(dispatcher, cancellation);
        }
        catch (Exception e) when (Reason(e) is not null)
        {
            IPEndPoint[] all = [.. _listening.Select(l => l.IPEndPoint!)];
            IPEndPoint[] named = [.. all.Where(endpoint => e.Message.Contains(endpoint.ToString(), StringComparison.Ordinal))];
            string where = string.Join(" or ", named.Length > 0 ? named : all);
            throw new DistTrainException(ExitCode.BadUsage, $"cannot listen on {where}: {Reason(e)}", e);
        }

        return [.. _listening.Select(l => l.IPEndPoint!)];
    }

    public async Task StopAsync(TimeSpan grace)
    {
        using var source = new CancellationTokenSource(grace);
        await _server.StopAsync(source.Token);
    }

    public ValueTask DisposeAsync() => _services.DisposeAsync();

    private static void Configure(KestrelServerOptions kestrel, GrpcServerOptions options, TlsHandshakeCallbackOptions? tls, List<ListenOptions> listening)
    {
        kestrel.AddServerHeader = false;
        kestrel.AllowSynchronousIO = false;
        KestrelServerLimits limits = kestrel.Limits;
        limits.KeepAliveTimeout = TimeSpan.FromDays(1); // pings find the dead; the silent may stay
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

    /// <summary>Takes the services that Kestrel registers for itself, which no public constructor would give it (its memory pool, TLS), and builds no host.</summary>
    private sealed class ServiceCollector : IWebHostBuilder
    {
        public IServiceCollection Services { get; } = new ServiceCollection();

#pragma warning disable ASPDEPR008 // the interface still names the old host, which is never built here
        public IWebHost Build() => throw new NotSupportedException();
#pragma warning restore ASPDEPR008

        public IWebHostBuilder ConfigureAppConfiguration(Action<WebHostBuilderContext, IConfigurationBuilder> configureDelegate) => this;

        public IWebHostBuilder ConfigureServices(Action<IServiceCollection> configureServices) => ConfigureServices((_, services) => configureServices(services));

        public IWebHostBuilder ConfigureServices(Action<WebHostBuilderContext, IServiceCollection> configureServices)
        {
            configureServices(new WebHostBuilderContext(), Services);
            return this;
        }

        public string? GetSetting(string key) => null;

        public IWebHostBuilder UseSetting(string key, string? value) => this;
    }
}
