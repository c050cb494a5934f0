using System.Collections;
using Google.Protobuf;
using Google.Protobuf.Reflection;

namespace DistTrain.Fuzz;

/// <summary>Messages of any type with values in their fields, most of them as honest members send them.</summary>
internal static class ProtoSamples
{
    private static readonly string[] Texts = ["", "weights", "momentum", "http://127.0.0.1:7001", "job", "data", "host", "100 % – ü", "a\0b", "name: test\n"];

    /// <summary>A message of a type.</summary>
    /// <param name="random">Chooses.</param>
    /// <param name="type">The type.</param>
    /// <param name="honest">How likely a number is a small one.</param>
    public static IMessage Make(FuzzRandom random, MessageDescriptor type, double honest = 0.9)
    {
        IMessage message = type.Parser.ParseFrom(ByteString.Empty);
        var chosen = new HashSet<FieldDescriptor>();
        foreach (OneofDescriptor oneof in type.Oneofs) chosen.Add(random.Pick([.. oneof.Fields]));
        foreach (FieldDescriptor field in type.Fields.InFieldNumberOrder())
        {
            if (field.ContainingOneof is not null ? !chosen.Contains(field) : !random.Chance(0.85)) continue;
            if (field.IsMap) continue;
            if (!field.IsRepeated)
            {
                field.Accessor.SetValue(message, Value(random, field, honest));
                continue;
            }

            var list = (IList)field.Accessor.GetValue(message);
            for (int count = random.Chance(0.97) ? random.Next(6) : random.Next(500); count > 0; count--) list.Add(Value(random, field, honest));
        }

        return message;
    }

    /// <summary>Sets a field, where the message has it at any depth.</summary>
    public static void Set(IMessage message, string name, object value)
    {
        foreach (FieldDescriptor field in message.Descriptor.Fields.InFieldNumberOrder())
        {
            if (field.IsRepeated || field.IsMap) continue;
            if (field.Name == name) field.Accessor.SetValue(message, value);
            else if (field.FieldType == FieldType.Message && field.Accessor.GetValue(message) is IMessage inner) Set(inner, name, value);
        }
    }

    private static object Value(FuzzRandom random, FieldDescriptor field, double honest) => field.FieldType switch
    {
        FieldType.Message => Make(random, field.MessageType, honest),
        FieldType.Enum => Enum.ToObject(field.EnumType.ClrType, (int)random.Number(field.EnumType.Values.Count, honest)),
        FieldType.Bool => random.Chance(0.5),
        FieldType.String => random.Chance(0.95) ? random.Pick(Texts) : new string((char)random.Next(1, 0xD000), random.Length(3000)),
        FieldType.Bytes => ByteString.CopyFrom(random.Bytes(random.Length(400))),
        FieldType.Double => random.Chance(honest) ? random.Next(100) / 4.0 : random.Real(),
        FieldType.Float => (float)(random.Chance(honest) ? random.Next(100) / 4.0 : random.Real()),
        FieldType.Int64 or FieldType.SInt64 or FieldType.SFixed64 => random.Number(6, honest),
        FieldType.UInt64 or FieldType.Fixed64 => (ulong)random.Number(6, honest),
        FieldType.UInt32 or FieldType.Fixed32 => (uint)random.Number(6, honest),
        _ => (int)random.Number(6, honest),
    };
}
