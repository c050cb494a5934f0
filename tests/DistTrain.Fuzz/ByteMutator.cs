using System.Buffers.Binary;

namespace DistTrain.Fuzz;

/// <summary>Damage to bytes of any kind.</summary>
internal static class ByteMutator
{
    // What grows by parts of itself ends somewhere.
    private const int Most = 1 << 20;

    /// <summary>Some changes, each of one kind.</summary>
    /// <param name="random">Chooses.</param>
    /// <param name="bytes">What is changed; stays as it is.</param>
    /// <param name="other">Something of the same kind, parts of which may be put in.</param>
    public static byte[] Mutate(FuzzRandom random, byte[] bytes, byte[] other)
    {
        List<byte> list = [.. bytes];
        for (int changes = 1 + random.Length(8); changes > 0 && list.Count <= Most; changes--) Change(random, list, other);
        return [.. list];
    }

    private static void Change(FuzzRandom random, List<byte> bytes, byte[] other)
    {
        int at = random.Next(bytes.Count), length = Math.Min(random.Length(bytes.Count), bytes.Count - at);
        switch (random.Next(10))
        {
            case 0 when bytes.Count > 0:
                bytes[at] ^= (byte)(1 << random.Next(8));
                break;
            case 1 when bytes.Count > 0:
                bytes[at] = (byte)random.Bits();
                break;
            case 2 or 3:
                Put(random, bytes, at);
                break;
            case 4:
                bytes.RemoveRange(at, length);
                break;
            case 5:
                bytes.InsertRange(at, bytes.GetRange(at, length));
                break;
            case 6:
                bytes.InsertRange(random.Next(bytes.Count + 1), random.Bytes(random.Length(64)));
                break;
            case 7 when random.Chance(0.3):
                bytes.RemoveRange(at, bytes.Count - at);
                break;
            case 8 when other.Length > 0:
                int from = random.Next(other.Length);
                bytes.InsertRange(at, other.AsSpan(from, Math.Min(random.Length(other.Length), other.Length - from)).ToArray());
                break;
            case 9:
                byte fill = random.Pick<byte>([0, 1, 0x7f, 0x80, 0xff]);
                for (int i = at; i < at + length; i++) bytes[i] = fill;
                break;
        }
    }

    // A number of 2, 4 or 8 bytes, either way round.
    private static void Put(FuzzRandom random, List<byte> bytes, int at)
    {
        Span<byte> number = stackalloc byte[8];
        BinaryPrimitives.WriteInt64LittleEndian(number, random.Extreme());
        number = number[..(1 << random.Next(1, 4))];
        if (random.Chance(0.5)) number.Reverse();
        for (int i = 0; i < number.Length && at + i < bytes.Count; i++) bytes[at + i] = number[i];
    }
}
