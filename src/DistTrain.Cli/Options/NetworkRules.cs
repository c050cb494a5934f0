using System.Globalization;
using System.Net;
using DistTrain.Core;

namespace DistTrain.Cli.Options;

/// <summary>
/// Addresses as they are written, and what DESIGN's I5 wants of one who joins: no token goes to another machine in the
/// clear, unless <c>--insecure</c> is said. Who listens is checked by the library.
/// </summary>
internal static class NetworkRules
{
    /// <exception cref="DistTrainException">An address is malformed, or joining like this would not be safe or not work.</exception>
    public static void Check(NetworkOptions options, bool listens)
    {
        if (listens) Split("--listen", options.Listen, 0);
        if (options.Join is { } join) CheckJoining(options, join, listens);
    }

    public static bool IsLoopback(string host) =>
        host.Equals("localhost", StringComparison.OrdinalIgnoreCase) || (IPAddress.TryParse(host, out IPAddress? address) && IPAddress.IsLoopback(address));

    /// <summary>Takes <c>host:port</c> or <c>[ipv6]:port</c> apart.</summary>
    public static (string Host, int Port) Split(string option, string text, int leastPort)
    {
        int colon = text.LastIndexOf(':');
        string host = colon < 0 ? text : text[..colon];
        if (colon > 0 && host is ['[', .., ']']) host = host[1..^1];
        else if (host.Contains(':')) throw Usage($"{option} {text}: expected HOST:PORT; an IPv6 address stands in brackets, [::1]:5000");
        if (colon <= 0 || host.Length == 0 || host.Any(char.IsWhiteSpace)) throw Usage($"{option} {text}: expected HOST:PORT, such as 10.0.0.5:5000");
        return int.TryParse(text[(colon + 1)..], NumberStyles.None, CultureInfo.InvariantCulture, out int port) && port >= leastPort && port <= 65535
            ? (host, port)
            : throw Usage(string.Create(CultureInfo.InvariantCulture, $"{option} {text}: expected a port from {leastPort} to 65535 after the colon"));
    }

    private static void CheckJoining(NetworkOptions options, string join, bool listens)
    {
        (string host, _) = Split("--join", join, 1);
        if (IsLoopback(host)) return;
        if (options is { CaFile: null, CertificateFile: null, Insecure: false })
        {
            throw Usage($"--join {join}: the coordinator is on another machine, so this needs --tls-ca (who vouches for it) and what it asks for (--token-file, or --tls-cert and --tls-key), or --insecure");
        }

        if (listens && IsLoopback(Split("--listen", options.Listen, 0).Host))
        {
            throw Usage($"--listen {options.Listen}: workers on other machines can't reach this address; give --listen HOST:PORT with an address of this machine, or 0.0.0.0:PORT");
        }
    }

    private static DistTrainException Usage(string message) => new(ExitCode.BadUsage, message);
}
