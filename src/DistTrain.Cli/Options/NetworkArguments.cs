using System.CommandLine;
using DistTrain.Core;

namespace DistTrain.Cli.Options;

/// <summary>Addresses, TLS and token of a process that takes part in a job over several machines.</summary>
internal sealed class NetworkArguments
{
    private readonly Option<string?> _listen = new("--listen") { HelpName = "HOST:PORT" };
    private readonly Option<string?> _join = new("--join") { HelpName = "HOST:PORT", Description = "Where the coordinator listens." };
    private readonly Option<string?> _advertise = new("--advertise") { HelpName = "HOST", Description = "The name or address by which workers reach this server, where it is not that of --listen (for 0.0.0.0: this machine's name)." };
    private readonly Option<string?> _certificate = new("--tls-cert") { HelpName = "FILE", Description = "This process's certificate (PEM)." };
    private readonly Option<string?> _key = new("--tls-key") { HelpName = "FILE", Description = "Its private key (PEM)." };
    private readonly Option<string?> _ca = new("--tls-ca") { HelpName = "FILE", Description = "The authority that the others' certificates come from (PEM)." };
    private readonly Option<bool> _mutual = new("--mutual-tls") { Description = "Demands a certificate of --tls-ca's from everyone who connects." };
    private readonly Option<string?> _tokenFile = new("--token-file") { HelpName = "FILE", Description = "A file with the job's secret, the same for everyone in it." };
    private readonly Option<bool> _insecure = new("--insecure") { Description = "Talk beyond this machine without TLS and token all the same." };
    private readonly Option<string?> _wait = new("--join-timeout") { HelpName = "DURATION", Description = "How long to wait for the others, such as 90s or 10m (default 60s)." };
    private readonly bool _joins;
    private readonly bool _listens;

    public NetworkArguments(Command command, bool joins, bool listens)
    {
        (_joins, _listens) = (joins, listens);
        if (joins) command.Add(_join);
        if (listens)
        {
            _listen.Description = joins
                ? "Where to listen for workers (default 127.0.0.1 and a free port)."
                : "Where to listen for servers and workers; port 0 takes a free one (default 127.0.0.1:0).";
            command.Add(_listen);
        }

        if (joins && listens) command.Add(_advertise);
        command.Add(_certificate);
        command.Add(_key);
        command.Add(_ca);
        if (listens) command.Add(_mutual);
        command.Add(_tokenFile);
        command.Add(_insecure);
        command.Add(_wait);
    }

    /// <summary>
    /// Reads and checks them; <paramref name="join"/> and <paramref name="token"/> come from a launcher. A worker without a server
    /// (<paramref name="quiet"/>) listens for nobody.
    /// </summary>
    /// <exception cref="DistTrainException">They are wrong, or less safe than DESIGN's I5 wants.</exception>
    public NetworkOptions Read(ParseResult parsed, string? join = null, string? token = null, bool quiet = false)
    {
        bool listens = _listens && !quiet;
        if (quiet && new Option[] { _listen, _advertise, _mutual }.FirstOrDefault(o => parsed.GetResult(o) is { Implicit: false }) is { } idle)
        {
            throw Usage($"{idle.Name}: a worker listens only with --with-server");
        }

        var options = new NetworkOptions
        {
            Token = token ?? (parsed.GetValue(_tokenFile) is { } file ? ReadToken(file) : null),
            CertificateFile = Existing(parsed, _certificate),
            KeyFile = Existing(parsed, _key),
            CaFile = Existing(parsed, _ca),
            MutualTls = listens && parsed.GetValue(_mutual),
            Insecure = parsed.GetValue(_insecure),
        };
        if (parsed.GetValue(_wait) is { } wait) options = options with { JoinTimeout = Duration(wait) };
        if (_joins) options = options with { Join = join ?? parsed.GetValue(_join) ?? throw Usage("--join HOST:PORT is missing: the address where the coordinator listens") };
        if (listens)
        {
            options = options with { Listen = parsed.GetValue(_listen) ?? options.Listen, Advertise = _joins ? parsed.GetValue(_advertise) : null };
        }

        NetworkRules.Check(options, listens);
        return options;
    }

    private static string? Existing(ParseResult parsed, Option<string?> option)
    {
        string? file = parsed.GetValue(option);
        return file is null || File.Exists(file) ? file : throw Usage($"{option.Name} {file}: no such file");
    }

    private static string ReadToken(string file)
    {
        try
        {
            string token = File.ReadAllText(file).Trim();
            if (token.Length is < 16 or > 1024) throw Usage($"--token-file {file}: holds {token.Length} characters; expected 16 to 1024, such as from 'openssl rand -hex 32'");
            return token.All(c => c is > ' ' and < (char)127) ? token : throw Usage($"--token-file {file}: a token is printable ASCII without blanks");
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new DistTrainException(ExitCode.BadUsage, $"--token-file {file}: can't be read: {e.Message}", e);
        }
    }

    private static TimeSpan Duration(string text)
    {
        TimeSpan wait = Core.Config.ConfigNode.NewScalar(text, "", "--join-timeout").AsDuration();
        return wait > TimeSpan.Zero ? wait : throw Usage($"--join-timeout {text}: expected more than nothing");
    }

    private static DistTrainException Usage(string message) => new(ExitCode.BadUsage, message);
}
