using System.Buffers;
using System.Collections.Frozen;

namespace DistTrain.Transport.Grpc;

/// <summary>Looks for fields of a message that hold bytes, without looking into them.</summary>
internal static class FieldCount
{
    /// <summary>Whether more than one of these fields comes, or one more than once. What is no message is left to the parser to refuse.</summary>
    public static bool IsMoreThanOne(ReadOnlySequence<byte> message, FrozenSet<ulong> numbers)
    {
        var reader = new SequenceReader<byte>(message);
        int count = 0;
        while (count < 2 && SkipOne(ref reader, out ulong number))
        {
            if (numbers.Contains(number)) count++;
        }

        return count == 2;
    }

    // Behind the next field that holds bytes; false when none follows.
    private static bool SkipOne(ref SequenceReader<byte> reader, out ulong number)
    {
        number = 0;
        while (TryReadVarint(ref reader, out ulong tag))
        {
            switch (tag & 7)
            {
                case 0 when TryReadVarint(ref reader, out _):
                case 1 when reader.TryAdvance(sizeof(ulong)):
                case 5 when reader.TryAdvance(sizeof(uint)):
                    break;
                case 2:
                    // A tag has 32 bits; the parser drops those above.
                    number = (uint)tag >> 3;
                    return TryReadVarint(ref reader, out ulong length) && length <= (ulong)reader.Remaining && reader.TryAdvance((long)length);
                case 3 or 4:
                    // A group's fields count as the message's own.
                    break;
                case 6 or 7:
                    // The parser goes over these, which mean nothing, as if they were empty.
                    break;
                default:
                    return false;
            }
        }

        return false;
    }

    private static bool TryReadVarint(ref SequenceReader<byte> reader, out ulong value)
    {
        value = 0;
        for (int i = 0; i < Varint.MaxLength; i++)
        {
            if (!reader.TryRead(out byte b)) return false;
            value |= (ulong)(b & 0x7f) << (7 * i);
            if (b < 0x80) return true;
        }

        return false;
    }
}

internal static class SequenceReaderExtensions
{
    /// <summary>Goes on by so many bytes; false when fewer are left.</summary>
    public static bool TryAdvance(this ref SequenceReader<byte> reader, long count)
    {
        if (count > reader.Remaining) return false;
        reader.Advance(count);
        return true;
    }
}
