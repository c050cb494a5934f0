using System.Buffers.Binary;
using DistTrain.Core;

namespace DistTrain.Training.Coordinator;

/// <summary>The coordinator's own state, as servers store it with each word of its clock and a successor reads it back (DESIGN, I2).</summary>
/// <param name="Committed">The last committed version when it was written.</param>
/// <param name="LastEvaluated">The last evaluated version.</param>
/// <param name="Evaluations">What followed from evaluations.</param>
/// <param name="Figures">What the figures of the run stood at, at <paramref name="Committed"/>; whoever shows them knows its form.</param>
public sealed record CoordinatorRecord(long Committed, long LastEvaluated, EvaluationRecord Evaluations, ReadOnlyMemory<byte> Figures)
{
    private const byte Format = 2;
    private const int Head = 1 + (2 * sizeof(long)) + sizeof(int);

    /// <summary>Its form on the wire.</summary>
    public ReadOnlyMemory<byte> ToBytes()
    {
        byte[] evaluations = Evaluations.ToBytes();
        byte[] bytes = new byte[Head + evaluations.Length + Figures.Length];
        bytes[0] = Format;
        BinaryPrimitives.WriteInt64LittleEndian(bytes.AsSpan(1), Committed);
        BinaryPrimitives.WriteInt64LittleEndian(bytes.AsSpan(1 + sizeof(long)), LastEvaluated);
        BinaryPrimitives.WriteInt32LittleEndian(bytes.AsSpan(1 + (2 * sizeof(long))), evaluations.Length);
        evaluations.CopyTo(bytes, Head);
        Figures.Span.CopyTo(bytes.AsSpan(Head + evaluations.Length));
        return bytes;
    }

    /// <summary>Reads what <see cref="ToBytes"/> wrote; null for what is empty or something else.</summary>
    public static CoordinatorRecord? Parse(ReadOnlyMemory<byte> record)
    {
        ReadOnlySpan<byte> bytes = record.Span;
        if (bytes.Length < Head || bytes[0] != Format) return null;
        int length = BinaryPrimitives.ReadInt32LittleEndian(bytes[(1 + (2 * sizeof(long)))..]);
        if (length < 0 || length > bytes.Length - Head) return null;
        try
        {
            return new(
                BinaryPrimitives.ReadInt64LittleEndian(bytes[1..]), BinaryPrimitives.ReadInt64LittleEndian(bytes[(1 + sizeof(long))..]),
                EvaluationRecord.Parse(record.Slice(Head, length)), record[(Head + length)..]);
        }
        catch (DistTrainException)
        {
            return null;
        }
    }
}
