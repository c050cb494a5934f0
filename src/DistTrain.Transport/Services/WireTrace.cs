using System.Collections.Immutable;
using DistTrain.Core.Tracing;
using Msg = DistTrain.Core.Messages;
using Wire = DistTrain.Transport.Proto.V1;

namespace DistTrain.Transport.Services;

/// <summary>Recorded events as they travel: in columns.</summary>
internal static class WireTrace
{
    public static Wire.Traced ToWire(Msg.Traced m)
    {
        var traced = new Wire.Traced { AskedAt = m.AskedAt, SentAt = m.SentAt, Lost = m.Lost, Last = m.Last };
        foreach (TraceEvent what in m.Events)
        {
            traced.Name.Add((Wire.TraceName)what.Name);
            traced.OnChannel.Add(what.OnChannel);
            traced.Bucket.Add(what.Bucket);
            traced.Lo.Add(what.Lo);
            traced.Hi.Add(what.Hi);
            traced.Value.Add(what.Value);
            traced.Start.Add(what.Start);
            traced.Duration.Add(what.Duration);
        }

        return traced;
    }

    /// <summary>Null when the columns are not of one length.</summary>
    public static Msg.Traced? FromWire(Wire.Traced m)
    {
        int count = m.Name.Count;
        if (m.OnChannel.Count != count || m.Bucket.Count != count || m.Lo.Count != count || m.Hi.Count != count
            || m.Value.Count != count || m.Start.Count != count || m.Duration.Count != count) return null;
        var events = ImmutableArray.CreateBuilder<TraceEvent>(count);
        for (int i = 0; i < count; i++)
        {
            // A name that a later version may have is no event of this one's.
            TraceName name = Enum.IsDefined((TraceName)(byte)m.Name[i]) && (int)m.Name[i] is >= 0 and <= byte.MaxValue ? (TraceName)m.Name[i] : TraceName.None;
            events.Add(new TraceEvent
            {
                Name = name,
                OnChannel = m.OnChannel[i],
                Bucket = m.Bucket[i],
                Lo = m.Lo[i],
                Hi = m.Hi[i],
                Value = m.Value[i],
                Start = m.Start[i],
                Duration = Math.Max(0, m.Duration[i]),
            });
        }

        return new Msg.Traced(m.AskedAt, m.SentAt, events.MoveToImmutable(), m.Lost, m.Last);
    }
}
