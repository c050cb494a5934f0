using System.Diagnostics;
using System.Globalization;

namespace DistTrain.Namespaces;

/// <summary>
/// Network namespaces joined by a bridge, each with an address of its own. A link is cut at the bridge, where packets from one
/// to another are dropped without a word, in one direction or both. Needs root, <c>ip</c> and <c>nft</c>.
/// </summary>
internal sealed class Network : IDisposable
{
    private readonly string _prefix = string.Create(CultureInfo.InvariantCulture, $"dt{Environment.ProcessId % 100_000}");
    private readonly string[] _names;

    public Network(IReadOnlyList<string> names)
    {
        _names = [.. names];
        Run("ip", $"link add {_prefix} type bridge");
        Run("ip", $"link set {_prefix} up");
        Run("nft", $"add table netdev {_prefix}");
        for (int i = 0; i < _names.Length; i++)
        {
            string port = Port(_names[i]), space = Space(_names[i]);
            Run("ip", $"netns add {space}");
            Run("ip", $"link add {port} type veth peer name eth0 netns {space}");
            Run("ip", $"link set {port} master {_prefix} up");
            Run("ip", $"-n {space} addr add {Address(_names[i])}/24 dev eth0");
            Run("ip", $"-n {space} link set eth0 up");
            Run("ip", $"-n {space} link set lo up");
            Run("nft", $"add chain netdev {_prefix} {_names[i]} {{ type filter hook ingress device {port} priority 0; }}");
        }
    }

    /// <summary>The address of a namespace.</summary>
    public string Address(string name) => string.Create(CultureInfo.InvariantCulture, $"10.77.0.{Array.IndexOf(_names, name) + 1}");

    /// <summary>What stands before a command so that it runs in a namespace.</summary>
    public IReadOnlyList<string> Within(string name) => ["ip", "netns", "exec", Space(name)];

    /// <summary>Packets from one namespace no longer come to another.</summary>
    public void Cut(string from, string to) => Run("nft", $"add rule netdev {_prefix} {from} ip daddr {Address(to)} drop");

    /// <summary>All packets arrive again.</summary>
    public void Heal()
    {
        foreach (string name in _names) Run("nft", $"flush chain netdev {_prefix} {name}");
    }

    public void Dispose()
    {
        Run("nft", $"delete table netdev {_prefix}");
        foreach (string name in _names) Run("ip", $"netns del {Space(name)}");
        Run("ip", $"link del {_prefix}");
    }

    private string Space(string name) => $"{_prefix}-{name}";

    private string Port(string name) => $"{_prefix}{name}";

    private static void Run(string program, string arguments)
    {
        using Process process = Process.Start(new ProcessStartInfo(program, arguments.Split(' ')) { UseShellExecute = false, RedirectStandardError = true })!;
        string error = process.StandardError.ReadToEnd();
        process.WaitForExit();
        if (process.ExitCode != 0) throw new InvalidOperationException($"{program} {arguments}: {error.Trim()}");
    }
}
