using System.Buffers.Binary;

namespace DistTrain.Fuzz;

/// <summary>An input that is a story: a byte that says how it is set up, then entries of a kind, a length and bytes.</summary>
internal static class Script
{
    public static byte[] Make(byte setup, IEnumerable<(byte Kind, byte[] Bytes)> entries)
    {
        using var stream = new MemoryStream();
        stream.WriteByte(setup);
        Span<byte> length = stackalloc byte[4];
        foreach ((byte kind, byte[] bytes) in entries)
        {
            BinaryPrimitives.WriteInt32LittleEndian(length, bytes.Length);
            stream.WriteByte(kind);
            stream.Write(length);
            stream.Write(bytes);
        }

        return stream.ToArray();
    }

    /// <summary>The entries, as far as they are whole.</summary>
    public static IEnumerable<(byte Kind, byte[] Bytes)> Read(byte[] script)
    {
        for (int at = 1; at + 5 <= script.Length;)
        {
            int length = BinaryPrimitives.ReadInt32LittleEndian(script.AsSpan(at + 1));
            if (length < 0 || length > script.Length - at - 5) yield break;
            yield return (script[at], script[(at + 5)..(at + 5 + length)]);
            at += 5 + length;
        }
    }
}
