using System.Globalization;

namespace DistTrain.Core.Config;

/// <summary>
/// One node of a job description, whatever it was read from: a scalar, a list or a map, with the place it stands at.
/// Readers ask for typed values; every error names file, line and key. Keys that nobody asked for are errors too:
/// call <see cref="RefuseUnknownKeys"/> once all known ones were read.
/// </summary>
public sealed class ConfigNode
{
    private readonly List<KeyValuePair<string, ConfigNode>> _entries = [];
    private readonly List<ConfigNode> _items = [];
    private readonly Dictionary<string, int> _index = new(StringComparer.Ordinal);
    private readonly HashSet<string> _asked = new(StringComparer.Ordinal);
    private readonly ConfigNode? _above;
    private readonly string _path;

    private ConfigNode(ConfigKind kind, string? scalar, string path, string place, ConfigNode? above)
    {
        (_above, _path) = (above, path);
        Kind = kind;
        Scalar = scalar;
        Place = place;
    }

    /// <summary>What this node is.</summary>
    public ConfigKind Kind { get; private set; }

    /// <summary>The text of a scalar; null for null, lists and maps.</summary>
    public string? Scalar { get; private set; }

    /// <summary>The dotted key, such as <c>optimizer.adam.learning_rate</c>; empty at the root.</summary>
    /// <remarks>Put together when it is asked for: long keys above many nodes would take much memory.</remarks>
    public string Path => _above is null ? _path : _above.Path + _path;

    /// <summary>Where it was read, such as <c>job.yaml:12</c> or <c>--set</c>.</summary>
    public string Place { get; private set; }

    /// <summary>The items of a list, in order; empty otherwise.</summary>
    public IReadOnlyList<ConfigNode> Items => _items;

    /// <summary>The entries of a map, in the order they were written; empty otherwise.</summary>
    public IReadOnlyList<KeyValuePair<string, ConfigNode>> Entries => _entries;

    /// <summary>Creates a scalar; a null text is the null value.</summary>
    /// <param name="text">The text.</param>
    /// <param name="path">The dotted key, or what it adds to that of <paramref name="above"/>.</param>
    /// <param name="place">Where it was read.</param>
    /// <param name="above">The node that it stands in; null where the path is whole.</param>
    public static ConfigNode NewScalar(string? text, string path, string place, ConfigNode? above = null) =>
        new(text is null ? ConfigKind.Null : ConfigKind.Scalar, text, path, place, above);

    /// <summary>Creates an empty list, to be filled with <see cref="Add"/>; see <see cref="NewScalar"/>.</summary>
    public static ConfigNode NewList(string path, string place, ConfigNode? above = null) => new(ConfigKind.List, null, path, place, above);

    /// <summary>Creates an empty map, to be filled with <see cref="Set"/>; see <see cref="NewScalar"/>.</summary>
    public static ConfigNode NewMap(string path, string place, ConfigNode? above = null) => new(ConfigKind.Map, null, path, place, above);

    /// <summary>Appends to a list.</summary>
    public void Add(ConfigNode item) => _items.Add(item);

    /// <summary>Sets or replaces an entry of a map.</summary>
    public void Set(string key, ConfigNode value)
    {
        if (_index.TryAdd(key, _entries.Count)) _entries.Add(new(key, value));
        else _entries[_index[key]] = new(key, value);
    }

    /// <summary>The entry, or null when it is absent or null. Marks the key as known.</summary>
    public ConfigNode? Find(string key)
    {
        if (Kind == ConfigKind.Null) return null;
        if (Kind != ConfigKind.Map) throw Error($"expected a map with the key '{key}', got {Describe()}");
        _asked.Add(key);
        ConfigNode? found = _index.TryGetValue(key, out int at) ? _entries[at].Value : null;
        return found is null || found.Kind == ConfigKind.Null ? null : found;
    }

    /// <summary>The entry; an error naming the key when it is absent.</summary>
    public ConfigNode Require(string key) => Find(key) ?? throw Error($"the key '{Child(key)}' is missing");

    /// <summary>A text entry, or <paramref name="fallback"/>.</summary>
    public string Text(string key, string fallback) => Find(key)?.AsText() ?? fallback;

    /// <summary>An integer entry within [min, max], or <paramref name="fallback"/>.</summary>
    public long Integer(string key, long fallback, long min = long.MinValue, long max = long.MaxValue) =>
        Find(key)?.AsInteger(min, max) ?? fallback;

    /// <summary>A real entry within [min, max], or <paramref name="fallback"/>.</summary>
    public double Number(string key, double fallback, double min = double.NegativeInfinity, double max = double.PositiveInfinity) =>
        Find(key)?.AsNumber(min, max) ?? fallback;

    /// <summary>A true or false entry, or <paramref name="fallback"/>.</summary>
    public bool Flag(string key, bool fallback) => Find(key)?.AsFlag() ?? fallback;

    /// <summary>A duration entry such as <c>500ms</c>, <c>3s</c>, <c>5 minutes</c>, or <paramref name="fallback"/>.</summary>
    public TimeSpan Duration(string key, TimeSpan fallback) => Find(key)?.AsDuration() ?? fallback;

    /// <summary>This node as text.</summary>
    public string AsText() => Kind == ConfigKind.Scalar ? Scalar! : throw Error($"expected text, got {Describe()}");

    /// <summary>This node as an integer within [min, max].</summary>
    public long AsInteger(long min = long.MinValue, long max = long.MaxValue)
    {
        if (Kind != ConfigKind.Scalar || !long.TryParse(Scalar!.Replace("_", ""), NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out long value))
        {
            throw Error($"expected an integer, got {Describe()}");
        }

        return value >= min && value <= max ? value : throw Error($"{value} is out of range: expected {RangeText(min, max, long.MinValue, long.MaxValue)}");
    }

    /// <summary>This node as a finite real number within [min, max].</summary>
    public double AsNumber(double min = double.NegativeInfinity, double max = double.PositiveInfinity)
    {
        if (Kind != ConfigKind.Scalar || !double.TryParse(Scalar!.Replace("_", ""), NumberStyles.Float, CultureInfo.InvariantCulture, out double value) || !double.IsFinite(value))
        {
            throw Error($"expected a number, got {Describe()}");
        }

        return value >= min && value <= max
            ? value
            : throw Error($"{Scalar} is out of range: expected {RangeText(min, max, double.NegativeInfinity, double.PositiveInfinity)}");
    }

    /// <summary>This node as true or false.</summary>
    public bool AsFlag() => Scalar switch
    {
        "true" or "yes" or "on" => true,
        "false" or "no" or "off" => false,
        _ => throw Error($"expected true or false, got {Describe()}"),
    };

    /// <summary>This node as a duration: a number and a unit (ms, s, m, h, or written out).</summary>
    public TimeSpan AsDuration()
    {
        string text = AsText().Trim();
        int digits = 0;
        while (digits < text.Length && (char.IsAsciiDigit(text[digits]) || text[digits] == '.')) digits++;
        double unit = text[digits..].Trim() switch
        {
            "ms" or "milliseconds" => 1e-3,
            "s" or "second" or "seconds" => 1,
            "m" or "min" or "minute" or "minutes" => 60,
            "h" or "hour" or "hours" => 3600,
            _ => double.NaN,
        };
        return double.TryParse(text[..digits], NumberStyles.Float, CultureInfo.InvariantCulture, out double value) && double.IsFinite(value * unit) && value * unit < 1e9
            ? TimeSpan.FromSeconds(value * unit)
            : throw Error($"expected a duration such as 500ms, 3s or 5 minutes, got {Describe()}");
    }

    /// <summary>This node as a number of bytes: a number and a unit (kB, MB, GB by thousands; KiB, MiB, GiB by 1024).</summary>
    public long AsBytes()
    {
        string text = AsText().Trim();
        int digits = 0;
        while (digits < text.Length && (char.IsAsciiDigit(text[digits]) || text[digits] == '.')) digits++;
        double unit = text[digits..].Trim() switch
        {
            "B" => 1,
            "kB" or "KB" => 1e3,
            "MB" => 1e6,
            "GB" => 1e9,
            "KiB" => 1 << 10,
            "MiB" => 1 << 20,
            "GiB" => 1 << 30,
            _ => double.NaN,
        };
        return double.TryParse(text[..digits], NumberStyles.Float, CultureInfo.InvariantCulture, out double value) && value * unit is >= 1 and < 1e15
            ? (long)(value * unit)
            : throw Error($"expected an amount of memory such as 200MB or 1.5GiB, got {Describe()}");
    }

    /// <summary>Refuses keys of this map that no reader asked for, with the nearest right spelling.</summary>
    public void RefuseUnknownKeys()
    {
        foreach ((string key, ConfigNode value) in _entries)
        {
            if (_asked.Contains(key)) continue;
            throw value.Error($"unknown key '{Child(key)}'{NearestName.Hint(key, _asked)}", named: true);
        }
    }

    /// <summary>An error at this node: "place: key: message".</summary>
    public DistTrainException Error(string message) => Error(message, named: false);

    /// <summary>What a user sees this node as: its text, or "a list", "a map", "nothing".</summary>
    public string Describe() => Kind switch
    {
        ConfigKind.Scalar => $"'{Scalar}'",
        ConfigKind.List => "a list",
        ConfigKind.Map => "a map",
        _ => "nothing",
    };

    private DistTrainException Error(string message, bool named) =>
        new(ExitCode.BadUsage, named || Path.Length == 0 ? $"{Place}: {message}" : $"{Place}: {Path}: {message}");

    private string Child(string key) => Path.Length == 0 ? key : $"{Path}.{key}";

    private static string RangeText<T>(T min, T max, T lowest, T highest)
        where T : IComparable<T> =>
        (min.CompareTo(lowest) > 0, max.CompareTo(highest) < 0) switch
        {
            (true, true) => string.Create(CultureInfo.InvariantCulture, $"{min} to {max}"),
            (true, false) => string.Create(CultureInfo.InvariantCulture, $"at least {min}"),
            _ => string.Create(CultureInfo.InvariantCulture, $"at most {max}"),
        };
}

/// <summary>The kinds of <see cref="ConfigNode"/>.</summary>
public enum ConfigKind
{
    /// <summary>An absent value, written as nothing, <c>~</c> or <c>null</c>.</summary>
    Null,

    /// <summary>A single value.</summary>
    Scalar,

    /// <summary>A list.</summary>
    List,

    /// <summary>A map with text keys.</summary>
    Map,
}
