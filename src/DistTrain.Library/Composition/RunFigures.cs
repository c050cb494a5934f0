using DistTrain.Core.Sharding;

namespace DistTrain.Composition;

/// <summary>What a run came to at a version.</summary>
/// <param name="Version">The version.</param>
/// <param name="Examples">Examples that its steps used.</param>
/// <param name="Epoch">The sums of the epoch that it is in.</param>
/// <param name="LastEpoch">Those of the epoch that its last step was in.</param>
internal sealed record Standing(long Version, long Examples, SegmentStats Epoch, SegmentStats LastEpoch);

/// <summary>The figures that a coordinator hands on to its successor.</summary>
/// <param name="Saved">What stood at the last checkpoint.</param>
/// <param name="Now">What stands at the last committed version.</param>
/// <param name="Test">The last evaluation.</param>
/// <param name="TestVersion">Its version; 0 before the first.</param>
/// <param name="Failures">Who was lost so far.</param>
internal sealed record RunFigures(Standing Saved, Standing Now, SegmentStats Test, long TestVersion, IReadOnlyList<Failure> Failures)
{
    private const byte Format = 1;
    private const int MostFailures = 1000;

    public ReadOnlyMemory<byte> ToBytes()
    {
        using var stream = new MemoryStream();
        using var writer = new BinaryWriter(stream);
        writer.Write(Format);
        Write(writer, Saved);
        Write(writer, Now);
        Write(writer, Test);
        writer.Write(TestVersion);
        writer.Write(Math.Min(Failures.Count, MostFailures));
        foreach (Failure failure in Failures.Take(MostFailures))
        {
            writer.Write(failure.Who);
            writer.Write(failure.Host);
            writer.Write(failure.Pid);
            writer.Write(failure.Step);
            writer.Write(failure.Cause);
            writer.Write(failure.RecoveredMs ?? -1);
        }

        return stream.ToArray();
    }

    /// <summary>Null for what is something else.</summary>
    public static RunFigures? Parse(ReadOnlyMemory<byte> bytes)
    {
        using var reader = new BinaryReader(new MemoryStream(bytes.ToArray()));
        try
        {
            if (reader.ReadByte() != Format) return null;
            Standing saved = ReadStanding(reader), now = ReadStanding(reader);
            SegmentStats test = ReadStats(reader);
            long version = reader.ReadInt64();
            int count = reader.ReadInt32();
            if (count is < 0 or > MostFailures) return null;
            var failures = new List<Failure>();
            for (int i = 0; i < count; i++)
            {
                var failure = new Failure(reader.ReadString(), reader.ReadString(), reader.ReadInt32(), reader.ReadInt64(), reader.ReadString(), reader.ReadDouble());
                failures.Add(failure.RecoveredMs >= 0 ? failure : failure with { RecoveredMs = null });
            }

            return new(saved, now, test, version, failures);
        }
        catch (Exception e) when (e is IOException or FormatException)
        {
            return null;
        }
    }

    private static void Write(BinaryWriter writer, Standing standing)
    {
        writer.Write(standing.Version);
        writer.Write(standing.Examples);
        Write(writer, standing.Epoch);
        Write(writer, standing.LastEpoch);
    }

    private static void Write(BinaryWriter writer, SegmentStats stats)
    {
        writer.Write(stats.LossSum);
        writer.Write(stats.WeightSum);
        writer.Write(stats.Correct);
        writer.Write(stats.Examples);
        writer.Write(stats.Predictions);
    }

    private static Standing ReadStanding(BinaryReader reader) => new(reader.ReadInt64(), reader.ReadInt64(), ReadStats(reader), ReadStats(reader));

    private static SegmentStats ReadStats(BinaryReader reader) => new(reader.ReadDouble(), reader.ReadDouble(), reader.ReadInt64(), reader.ReadInt64(), reader.ReadInt64());
}
