using Google.Protobuf;

namespace DistTrain.Fuzz;

/// <summary>Damage to protobuf that is still protobuf, mostly: fields change, go, come twice and in other places, and get other tags and kinds.</summary>
internal static class ProtoMutator
{
    private const int Deepest = 8;
    private const int MostCopied = 64 << 10;

    private sealed record Field(int Number, WireFormat.WireType Type, ulong Value, byte[] Bytes);

    /// <summary>Some changes, each of one kind.</summary>
    public static byte[] Mutate(FuzzRandom random, byte[] message)
    {
        for (int changes = 1 + random.Length(5); changes > 0; changes--) message = Change(random, message, 0);
        return random.Chance(0.05) ? ByteMutator.Mutate(random, message, message) : message;
    }

    private static byte[] Change(FuzzRandom random, byte[] message, int depth)
    {
        if (Parse(message) is not { } fields) return ByteMutator.Mutate(random, message, message);
        int at = random.Next(fields.Count);
        if (fields.Count == 0 || random.Chance(0.1)) fields.Insert(at, Make(random));
        else if (fields[at].Type == WireFormat.WireType.LengthDelimited && fields[at].Bytes.Length > 0 && depth < Deepest && random.Chance(0.6))
        {
            fields[at] = fields[at] with { Bytes = Change(random, fields[at].Bytes, depth + 1) };
        }
        else
        {
            switch (random.Next(8))
            {
                case 0:
                    fields.RemoveAt(at);
                    break;
                case 1:
                    fields.Insert(random.Next(fields.Count + 1), fields[at]);
                    break;
                case 2:
                    int with = random.Next(fields.Count);
                    (fields[at], fields[with]) = (fields[at] with { Number = fields[with].Number }, fields[with] with { Number = fields[at].Number });
                    break;
                case 3:
                    fields[at] = fields[at] with { Number = Number(random) };
                    break;
                case 4:
                    fields[at] = fields[at] with { Type = (WireFormat.WireType)random.Next(8) };
                    break;
                case 5 when random.Chance(0.1):
                    // The same again, very often, as long as copies of copies don't fill the memory.
                    for (int count = random.Next(Math.Min(2000, MostCopied / (1 + fields[at].Bytes.Length))); count > 0; count--) fields.Insert(at, fields[at]);
                    break;
                default:
                    fields[at] = fields[at] with { Value = Bits(random), Bytes = ByteMutator.Mutate(random, fields[at].Bytes, message) };
                    break;
            }
        }

        return Write(random, fields);
    }

    private static Field Make(FuzzRandom random) =>
        new(Number(random), (WireFormat.WireType)random.Next(6), Bits(random), random.Chance(0.02) ? Nest(random) : random.Bytes(random.Length(40)));

    private static byte[] Nest(FuzzRandom random)
    {
        byte[] inner = [];
        int number = random.Next(1, 16);
        for (int depth = random.Next(300); depth > 0; depth--) inner = Write(random, [new Field(number, WireFormat.WireType.LengthDelimited, 0, inner)]);
        return inner;
    }

    private static int Number(FuzzRandom random) => random.Chance(0.8) ? random.Next(1, 20) : (int)(random.Extreme() & 0x1fffffff);

    private static ulong Bits(FuzzRandom random) => random.Next(3) switch
    {
        0 => (ulong)random.Extreme(),
        1 => BitConverter.DoubleToUInt64Bits(random.Real()),
        _ => (ulong)random.Next(10),
    };

    // Null for what is none.
    private static List<Field>? Parse(byte[] message)
    {
        var fields = new List<Field>();
        var input = new CodedInputStream(message);
        try
        {
            while (input.ReadTag() is var tag && tag != 0)
            {
                int number = WireFormat.GetTagFieldNumber(tag);
                WireFormat.WireType type = WireFormat.GetTagWireType(tag);
                fields.Add(type switch
                {
                    WireFormat.WireType.Varint => new(number, type, input.ReadUInt64(), []),
                    WireFormat.WireType.Fixed64 => new(number, type, input.ReadFixed64(), []),
                    WireFormat.WireType.Fixed32 => new(number, type, input.ReadFixed32(), []),
                    WireFormat.WireType.LengthDelimited => new(number, type, 0, input.ReadBytes().ToByteArray()),
                    _ => new(number, type, 0, []),
                });
            }
        }
        catch (InvalidProtocolBufferException)
        {
            return null;
        }

        return fields;
    }

    private static byte[] Write(FuzzRandom random, List<Field> fields)
    {
        using var memory = new MemoryStream();
        using (var output = new CodedOutputStream(memory))
        {
            foreach (Field field in fields)
            {
                output.WriteUInt32(((uint)field.Number << 3) | (uint)field.Type);
                switch (field.Type)
                {
                    case WireFormat.WireType.Varint:
                        output.WriteUInt64(field.Value);
                        break;
                    case WireFormat.WireType.Fixed64:
                        output.WriteFixed64(field.Value);
                        break;
                    case WireFormat.WireType.Fixed32:
                        output.WriteFixed32((uint)field.Value);
                        break;
                    case WireFormat.WireType.LengthDelimited when random.Chance(0.005):
                        output.WriteUInt64((ulong)random.Extreme());
                        output.WriteRawTag(field.Bytes.Length > 0 ? field.Bytes[0] : (byte)0);
                        break;
                    case WireFormat.WireType.LengthDelimited:
                        output.WriteBytes(ByteString.CopyFrom(field.Bytes));
                        break;
                }
            }
        }

        return memory.ToArray();
    }
}
