using System.Net;
using System.Net.Sockets;
using DistTrain.Core;
using DistTrain.Transport.Grpc;
using DistTrain.Transport.Services;

namespace DistTrain.Composition;

/// <summary>Addresses, TLS and tokens, secure by default (DESIGN, I5).</summary>
internal static class Network
{
    /// <summary>Options for a gRPC server; refuses to listen beyond loopback without TLS and a token, or mutual TLS.</summary>
    public static async Task<GrpcServerOptions> ServerOptionsAsync(NetworkOptions options)
    {
        (string host, int port) = Parse(options.Listen, "--listen");
        IPAddress[] addresses = await ResolveAsync(host);
        if ((options.CertificateFile is null) != (options.KeyFile is null)) throw Usage("a certificate needs its key: give both --tls-cert and --tls-key");
        if (options.MutualTls && options.CaFile is null) throw Usage("--mutual-tls needs --tls-ca, the authority that peers' certificates must come from");
        if (options.MutualTls && options.CertificateFile is null) throw Usage("--mutual-tls needs --tls-cert and --tls-key");
        bool secure = options.CertificateFile is not null && (options.Token is not null || options.MutualTls);
        if (!secure && !options.Insecure && !addresses.All(IPAddress.IsLoopback))
        {
            throw Usage($"listening on {options.Listen}, beyond this machine, needs --tls-cert and --tls-key with --token-file or --mutual-tls; or say --insecure");
        }

        return new GrpcServerOptions
        {
            Listen = [.. addresses.Select(a => new IPEndPoint(a, port))],
            Tls = options.CertificateFile is { } certificate ? new GrpcServerTls(certificate, options.KeyFile!, options.MutualTls ? options.CaFile : null) : null,
            BearerToken = options.Token,
            StatusOf = ServiceStatus.Of,
            ReflectionFiles = ServiceStatus.Files,
        };
    }

    /// <summary>A client for <paramref name="address"/>, an <c>http://</c> or <c>https://</c> URL.</summary>
    public static GrpcChannel Connect(string address, NetworkOptions options) => new(address, new GrpcChannelOptions
    {
        Tls = new GrpcClientTls(options.CaFile, options.CertificateFile, options.KeyFile),
        BearerToken = options.Token,
        // A machine that vanishes without a word is noticed within seconds.
        KeepAlivePingDelay = TimeSpan.FromSeconds(2),
        KeepAlivePingTimeout = TimeSpan.FromSeconds(2),
    });

    /// <summary>Whether the coordinator is joined over this machine's loopback.</summary>
    public static bool IsLoopback(NetworkOptions options)
    {
        (string host, _) = Parse(options.Join!, "--join");
        return string.Equals(host, "localhost", StringComparison.OrdinalIgnoreCase) || (IPAddress.TryParse(host, out IPAddress? address) && IPAddress.IsLoopback(address));
    }

    /// <summary>The coordinator's URL: TLS when any of its files is given.</summary>
    public static string CoordinatorUrl(NetworkOptions options)
    {
        string join = options.Join ?? throw Usage("--join HOST:PORT is missing: the coordinator to join");
        Parse(join, "--join");
        return $"{(options.CaFile is not null || options.CertificateFile is not null ? "https" : "http")}://{join}";
    }

    /// <summary>The URL that others reach a server by.</summary>
    public static string EndpointUrl(NetworkOptions options, IPEndPoint bound)
    {
        bool any = bound.Address.Equals(IPAddress.Any) || bound.Address.Equals(IPAddress.IPv6Any);
        string host = options.Advertise ?? (any ? Dns.GetHostName() : new IPEndPoint(bound.Address, 0).ToString()[..^2]);
        return $"{(options.CertificateFile is null ? "http" : "https")}://{host}:{bound.Port}";
    }

    private static (string Host, int Port) Parse(string address, string option)
    {
        int colon = address.LastIndexOf(':');
        if (colon <= 0 || !int.TryParse(address.AsSpan(colon + 1), out int port) || port is < 0 or > 65535)
        {
            throw Usage($"{option} {address}: expected HOST:PORT, such as 127.0.0.1:7000");
        }

        return (address[..colon].Trim('[', ']'), port);
    }

    private static async Task<IPAddress[]> ResolveAsync(string host)
    {
        if (IPAddress.TryParse(host, out IPAddress? address)) return [address];
        try
        {
            return await Dns.GetHostAddressesAsync(host);
        }
        catch (SocketException e)
        {
            throw new DistTrainException(ExitCode.BadUsage, $"--listen: the host '{host}' is unknown: {e.Message}", e);
        }
    }

    private static DistTrainException Usage(string message) => new(ExitCode.BadUsage, message);
}
