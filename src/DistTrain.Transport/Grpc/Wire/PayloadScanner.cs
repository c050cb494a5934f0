namespace DistTrain.Transport.Grpc;

internal enum ScanResult
{
    /// <summary>Not decided yet: more of the message must come.</summary>
    NeedMore,

    /// <summary>The payload was found, and it ends the message.</summary>
    Payload,

    /// <summary>The message ends without a payload.</summary>
    NoPayload,

    /// <summary>Something unusual but perhaps valid: fields after the payload, groups. The whole message goes to the parser.</summary>
    General,
}

/// <summary>Looks for the payload field at the head of a message, field by field, as bytes arrive.</summary>
internal struct PayloadScanner(uint payloadTag, int messageLength)
{
    private long _position;

    /// <summary>Bytes ahead of the payload's tag: the header as protobuf. Set when the payload was found.</summary>
    public int HeaderLength { get; private set; }

    /// <summary>Where the payload's bytes begin in the message.</summary>
    public int PayloadStart { get; private set; }

    /// <summary>Goes on where the last call stopped; <paramref name="head"/> begins at the message's first byte.</summary>
    public ScanResult Scan(ReadOnlySpan<byte> head)
    {
        while (true)
        {
            if (_position == messageLength) return ScanResult.NoPayload;
            if (_position > messageLength) return ScanResult.General;
            if (_position >= head.Length) return ScanResult.NeedMore;
            ReadOnlySpan<byte> rest = head[(int)_position..];
            int tagLength = Varint.Read(rest, out ulong tag);
            if (tagLength <= 0) return tagLength == 0 ? ScanResult.NeedMore : ScanResult.General;
            long next = _position + tagLength;
            int valueLength = Varint.Read(rest[tagLength..], out ulong value);
            switch (tag & 7)
            {
                case 0:
                    if (valueLength <= 0) return valueLength == 0 ? ScanResult.NeedMore : ScanResult.General;
                    next += valueLength;
                    break;
                case 1:
                    next += 8;
                    break;
                case 2:
                    if (valueLength <= 0) return valueLength == 0 ? ScanResult.NeedMore : ScanResult.General;
                    if (value > (ulong)messageLength) return ScanResult.General;
                    next += valueLength;
                    if (tag == payloadTag) return Found(next, (long)value);
                    next += (long)value;
                    break;
                case 5:
                    next += 4;
                    break;
                default:
                    return ScanResult.General;
            }

            _position = next;
        }
    }

    private ScanResult Found(long start, long length)
    {
        if (start + length != messageLength) return ScanResult.General;
        (HeaderLength, PayloadStart) = ((int)_position, (int)start);
        return ScanResult.Payload;
    }
}
