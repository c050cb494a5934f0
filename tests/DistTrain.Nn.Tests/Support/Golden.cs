using System.Runtime.InteropServices;
using System.Text.Json;

namespace DistTrain.Nn.Tests;

/// <summary>The tensors of one golden file; tests/golden/make_goldens.py says what they are.</summary>
internal sealed class Golden
{
    private readonly byte[] _data;
    private readonly JsonElement _tensors;

    private Golden(string name)
    {
        string path = Path.Combine(AppContext.BaseDirectory, "golden", name);
        _data = File.ReadAllBytes(path + ".bin");
        JsonElement head = JsonDocument.Parse(File.ReadAllText(path + ".json")).RootElement;
        _tensors = head.GetProperty("tensors");
        Steps = head.GetProperty("steps").GetInt32();
        Batch = head.GetProperty("batch").GetInt32();
    }

    public int Steps { get; }

    public int Batch { get; }

    public static Golden Open(string name) => new(name);

    public bool Has(string name) => _tensors.TryGetProperty(name, out _);

    public int[] Shape(string name) =>
        [.. _tensors.GetProperty(name).GetProperty("shape").EnumerateArray().Select(d => d.GetInt32())];

    public ReadOnlySpan<float> this[string name] =>
        MemoryMarshal.Cast<byte, float>(_data).Slice(_tensors.GetProperty(name).GetProperty("offset").GetInt32(), Shape(name).Aggregate(1, (a, b) => a * b));
}
