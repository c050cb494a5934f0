using System.Collections.Immutable;
using System.Diagnostics;
using DistTrain.Core.Sharding;

namespace DistTrain.Core.Tracing;

/// <summary>
/// The last events of one member, in memory that is taken once: recording takes no lock and allocates nothing. Any thread may record;
/// <see cref="Take"/> is for when they have stopped.
/// </summary>
/// <param name="capacity">Events to keep; a power of two.</param>
public sealed class TraceRecorder(int capacity)
{
    /// <summary>What a member keeps where nothing else is asked for: some thousand steps of a small job.</summary>
    public const int DefaultCapacity = 1 << 16;

    /// <summary>The most that a coordinator may ask for.</summary>
    public const int MostCapacity = 1 << 22;

    private readonly TraceEvent[] _events = new TraceEvent[(int)Math.Clamp(System.Numerics.BitOperations.RoundUpToPowerOf2((uint)capacity), 2, MostCapacity)];
    private long _next;

    /// <summary>Events that there is room for.</summary>
    public int Capacity => _events.Length;

    /// <summary>A moment, in nanoseconds of this machine's monotonic clock, which all of its processes share.</summary>
    public static long Now
    {
        get
        {
            long ticks = Stopwatch.GetTimestamp(), frequency = Stopwatch.Frequency;
            return frequency == 1_000_000_000 ? ticks : (ticks / frequency * 1_000_000_000) + (ticks % frequency * 1_000_000_000 / frequency);
        }
    }

    /// <summary>Events that were recorded and pushed out by later ones.</summary>
    public long Lost => Math.Max(0, Interlocked.Read(ref _next) - _events.Length);

    /// <summary>Records an event.</summary>
    public void Add(in TraceEvent what) => _events[(Interlocked.Increment(ref _next) - 1) & (_events.Length - 1)] = what;

    /// <summary>The events that are there, in the order in which they were recorded. Only when nobody records.</summary>
    public ImmutableArray<TraceEvent> Take()
    {
        long end = Interlocked.Read(ref _next), first = Math.Max(0, end - _events.Length);
        var taken = ImmutableArray.CreateBuilder<TraceEvent>((int)(end - first));
        for (long i = first; i < end; i++) taken.Add(_events[i & (_events.Length - 1)]);
        return taken.MoveToImmutable();
    }
}

/// <summary>Recording, where it may be off: a recorder that is null records nothing.</summary>
public static class Tracing
{
    /// <summary>When something begins; 0 where nothing is recorded.</summary>
    public static long Begin(this TraceRecorder? recorder) => recorder is null ? 0 : TraceRecorder.Now;

    /// <summary>Records what began at <paramref name="start"/> and ends now.</summary>
    public static void End(this TraceRecorder? recorder, TraceName name, long start, long step, int bucket = -1, ShardRange shards = default, bool onChannel = false)
    {
        if (recorder is null) return;
        recorder.Add(new TraceEvent { Name = name, Start = start, Duration = TraceRecorder.Now - start, Value = step, Bucket = bucket, Lo = shards.Lo, Hi = shards.Hi, OnChannel = onChannel });
    }

    /// <summary>Records a moment.</summary>
    public static void Mark(this TraceRecorder? recorder, TraceName name, long step, int bucket = -1, ShardRange shards = default, bool onChannel = false)
    {
        if (recorder is null) return;
        recorder.Add(new TraceEvent { Name = name, Start = TraceRecorder.Now, Value = step, Bucket = bucket, Lo = shards.Lo, Hi = shards.Hi, OnChannel = onChannel });
    }

    /// <summary>Records a count.</summary>
    public static void Count(this TraceRecorder? recorder, TraceName name, long count)
    {
        if (recorder is null) return;
        recorder.Add(new TraceEvent { Name = name, Start = TraceRecorder.Now, Value = count, Bucket = -1 });
    }
}
