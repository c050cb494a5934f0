using System.Buffers.Binary;
using System.Text;
using DistTrain.Training.Checkpoints;

namespace DistTrain.Fuzz.Targets;

/// <summary>Safetensors: the header's words, its length and its data.</summary>
internal sealed class SafetensorsTarget : FileTarget
{
    private static readonly string[] Words =
    [
        "{", "}", "[", "]", ",", ":", "\"", "\"dtype\":\"F32\"", "\"shape\":[", "\"data_offsets\":[", "0", "-1", "4611686018427387904", "9223372036854775807", "1e3", "null",
        "\"__metadata__\":{", "\"BF16\"", "\"F4\"", "\"F6_E2M3\"", "\"BOOL\"", "\\u0000", "\\ud800", "\"a\":{\"dtype\":\"F32\",\"shape\":[0],\"data_offsets\":[0,0]},", " ",
    ];

    public override string Name => "safetensors";

    public override int Brief => 3000;

    protected override long PerByte => 100;

    public override byte[] Make(FuzzRandom random)
    {
        TensorSpec[] tensors = [new("0.weight", [3, 5]), new("0.bias", [3]), new("scalar", []), new("empty", [0, 7])];
        byte[] head = SafetensorsHeader.Write(tensors[..random.Next(1, 5)], new Dictionary<string, string>(StringComparer.Ordinal) { ["format"] = "pt" });
        byte[] data = new byte[random.Chance(0.9) ? tensors[..1].Concat(tensors[1..]).Take(Count(head)).Sum(t => (int)t.Length) * sizeof(float) : random.Next(100)];
        if (random.Chance(0.2)) return Damaged(random, [.. head, .. data]);
        string json = TextMutator.Mutate(random, Encoding.UTF8.GetString(head.AsSpan(8)), Words);
        byte[] text = Encoding.UTF8.GetBytes(json), length = new byte[8];
        BinaryPrimitives.WriteInt64LittleEndian(length, random.Chance(0.95) ? text.Length : random.Extreme());
        return [.. length, .. text, .. data];

        static int Count(byte[] head) => Encoding.UTF8.GetString(head).Split("\"dtype\"").Length - 1;
    }

    public override bool Read(byte[] input)
    {
        using SafetensorsReader reader = SafetensorsReader.Open(Write("model.safetensors", input));
        foreach (SafetensorsTensor tensor in reader.Tensors)
        {
            if (tensor.ByteLength > input.Length) throw new BrokenPromiseException($"'{tensor.Name}' has {tensor.ByteLength} bytes in a file of {input.Length}");
            reader.ReadBytes(tensor.Name, 0, new byte[tensor.ByteLength]);
            if (tensor.Type == SafetensorsTensor.Float32) reader.Read(tensor.Name, 0, new float[tensor.Length]);
        }

        return true;
    }
}
