using System.Buffers.Binary;
using DistTrain.Core;
using DistTrain.Optim;

namespace DistTrain.Training.Coordinator;

/// <summary>
/// What followed from the evaluations up to a version: the part of the coordinator's state that checkpoints hold, so that a
/// resumed run comes to the same decisions.
/// </summary>
public sealed record EvaluationRecord
{
    private const int Format = 1;
    private const int Length = 1 + 1 + (9 * sizeof(long));

    /// <summary>Before the first evaluation.</summary>
    public static EvaluationRecord Empty { get; } = new();

    /// <summary>The last version that was evaluated; 0 for none.</summary>
    public long Version { get; init; }

    /// <summary>By what <see cref="Best"/> is the best.</summary>
    public MonitoredFigure Monitor { get; init; }

    /// <summary>The best version; null for none, or where training doesn't stop early.</summary>
    public BestModel? Best { get; init; }

    /// <summary>Evaluations since the best.</summary>
    public long Since { get; init; }

    /// <summary>What the schedule remembers.</summary>
    public PlateauState Plateau { get; init; } = PlateauState.Start;

    /// <summary>Its form in a checkpoint's manifest; empty where nothing followed yet.</summary>
    public byte[] ToBytes()
    {
        if (this == Empty) return [];
        byte[] bytes = new byte[Length];
        (bytes[0], bytes[1]) = (Format, (byte)Monitor);
        long[] numbers =
        [
            Version, Best?.Version ?? -1, Bits(Best?.Loss ?? 0), Bits(Best?.Accuracy ?? 0), Since,
            Bits(Plateau.Factor), Bits(Plateau.Best), Plateau.Since, Plateau.Cooldown,
        ];
        for (int i = 0; i < numbers.Length; i++) BinaryPrimitives.WriteInt64LittleEndian(bytes.AsSpan(2 + (i * sizeof(long))), numbers[i]);
        return bytes;
    }

    /// <summary>Reads what <see cref="ToBytes"/> wrote.</summary>
    /// <exception cref="DistTrainException">BadData: it is something else.</exception>
    public static EvaluationRecord Parse(ReadOnlyMemory<byte> record)
    {
        if (record.IsEmpty) return Empty;
        ReadOnlySpan<byte> bytes = record.Span;
        if (bytes.Length != Length || bytes[0] != Format || bytes[1] > (byte)MonitoredFigure.Accuracy)
        {
            throw new DistTrainException(ExitCode.BadData, $"the coordinator's record in the checkpoint is of {bytes.Length} bytes and format {bytes[0]}; this build reads format {Format} of {Length} bytes");
        }

        long[] numbers = new long[9];
        for (int i = 0; i < numbers.Length; i++) numbers[i] = BinaryPrimitives.ReadInt64LittleEndian(bytes[(2 + (i * sizeof(long)))..]);
        return new EvaluationRecord
        {
            Version = numbers[0],
            Monitor = (MonitoredFigure)bytes[1],
            Best = numbers[1] < 0 ? null : new BestModel(numbers[1], Number(numbers[2]), Number(numbers[3])),
            Since = numbers[4],
            Plateau = new PlateauState(Number(numbers[5]), Number(numbers[6]), numbers[7], numbers[8]),
        };
    }

    private static long Bits(double value) => BitConverter.DoubleToInt64Bits(value);

    private static double Number(long bits) => BitConverter.Int64BitsToDouble(bits);
}
