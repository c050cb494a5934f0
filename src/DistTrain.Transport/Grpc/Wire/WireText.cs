using System.Globalization;
using System.Text;

namespace DistTrain.Transport.Grpc;

/// <summary>The forms that texts and times take in gRPC's headers.</summary>
internal static class WireText
{
    public const string ContentType = "application/grpc";

    /// <summary>Peers bound their headers: a message beyond this is cut.</summary>
    private const int MaxMessageLength = 4096;
    private const string Hex = "0123456789ABCDEF";

    /// <summary>Percent-encodes the UTF-8 bytes of a status message, all but printable ASCII.</summary>
    public static string EncodeMessage(string message)
    {
        var text = new StringBuilder(message.Length);
        Span<byte> utf8 = stackalloc byte[4];
        foreach (Rune rune in message.EnumerateRunes())
        {
            if (text.Length > MaxMessageLength) break;
            foreach (byte b in utf8[..rune.EncodeToUtf8(utf8)])
            {
                if (b is >= 0x20 and <= 0x7e and not (byte)'%') text.Append((char)b);
                else text.Append('%').Append(Hex[b >> 4]).Append(Hex[b & 15]);
            }
        }

        return text.ToString();
    }

    /// <summary>Undoes <see cref="EncodeMessage"/>; what isn't a valid escape stays as it is.</summary>
    public static string DecodeMessage(string message)
    {
        if (!message.Contains('%')) return message;
        byte[] bytes = new byte[message.Length];
        int length = 0;
        for (int i = 0; i < message.Length; i++)
        {
            if (message[i] == '%' && i + 2 < message.Length && char.IsAsciiHexDigit(message[i + 1]) && char.IsAsciiHexDigit(message[i + 2]))
            {
                bytes[length++] = byte.Parse(message.AsSpan(i + 1, 2), NumberStyles.HexNumber, CultureInfo.InvariantCulture);
                i += 2;
            }
            else
            {
                bytes[length++] = message[i] < 0x80 ? (byte)message[i] : (byte)'?';
            }
        }

        return Encoding.UTF8.GetString(bytes, 0, length);
    }

    /// <summary>At most 8 digits and a unit, rounded up so that the server never gives up before the client.</summary>
    public static string EncodeTimeout(TimeSpan timeout)
    {
        const long Limit = 99_999_999;
        long ticks = Math.Max(timeout.Ticks, 1);
        foreach ((char unit, long size) in (ReadOnlySpan<(char, long)>)[('u', TimeSpan.TicksPerMicrosecond), ('m', TimeSpan.TicksPerMillisecond), ('S', TimeSpan.TicksPerSecond), ('M', TimeSpan.TicksPerMinute)])
        {
            long count = ((ticks - 1) / size) + 1;
            if (count <= Limit) return string.Create(CultureInfo.InvariantCulture, $"{count}{unit}");
        }

        return string.Create(CultureInfo.InvariantCulture, $"{Math.Min(Limit, ticks / TimeSpan.TicksPerHour)}H");
    }

    /// <summary>Reads a grpc-timeout in any unit; false when it is none.</summary>
    public static bool TryDecodeTimeout(string text, out TimeSpan timeout)
    {
        timeout = default;
        if (text.Length is < 2 or > 9 || !long.TryParse(text.AsSpan(0, text.Length - 1), NumberStyles.None, CultureInfo.InvariantCulture, out long count)) return false;
        long ticks = text[^1] switch
        {
            'H' => count * TimeSpan.TicksPerHour,
            'M' => count * TimeSpan.TicksPerMinute,
            'S' => count * TimeSpan.TicksPerSecond,
            'm' => count * TimeSpan.TicksPerMillisecond,
            'u' => count * TimeSpan.TicksPerMicrosecond,
            'n' => (count + 99) / 100,
            _ => -1,
        };
        timeout = new(ticks);
        return ticks >= 0;
    }

    /// <summary>True for <c>application/grpc</c> and <c>application/grpc+proto</c>, with or without parameters.</summary>
    public static bool IsGrpc(string? contentType)
    {
        string media = contentType?.Split(';')[0].Trim().ToLowerInvariant() ?? "";
        return media is ContentType or ContentType + "+proto";
    }
}
