using System.Collections.Immutable;
using DistTrain.Core;

namespace DistTrain.Training.Coordinator;

/// <summary>What is known of a shard that several workers computed.</summary>
internal enum Verdict
{
    /// <summary>Somebody has not told yet.</summary>
    Open,

    /// <summary>Two have the same bits.</summary>
    Same,

    /// <summary>Two have different bits, and a third has to decide.</summary>
    Unequal,

    /// <summary>Two agree against one.</summary>
    Decided,

    /// <summary>No two agree.</summary>
    Undecided,
}

/// <summary>One shard of a step, computed by its own worker, by a second one, and where they differ by a third.</summary>
internal sealed class VerifiedShard(int shard, MemberId own, MemberId second)
{
    private readonly Dictionary<MemberId, ImmutableArray<ulong>> _told = [];

    public int Shard => shard;

    /// <summary>Whose gradient counts.</summary>
    public MemberId Own => own;

    /// <summary>Who computed it too.</summary>
    public MemberId Second => second;

    /// <summary>Who decides; null where nobody was asked.</summary>
    public MemberId? Third { get; private set; }

    /// <summary>Whether nothing more is to be found out.</summary>
    public bool IsClosed { get; private set; }

    /// <summary>Buckets in which the first two differ, ascending.</summary>
    public ImmutableArray<int> Buckets => _told.TryGetValue(own, out ImmutableArray<ulong> a) && _told.TryGetValue(second, out ImmutableArray<ulong> b) && a.Length == b.Length
        ? [.. Enumerable.Range(0, a.Length).Where(i => a[i] != b[i])]
        : [];

    /// <summary>Where it is decided: who has other bits than two others.</summary>
    public MemberId? Wrong { get; private set; }

    /// <summary>Has another worker decide.</summary>
    public void Ask(MemberId third) => Third = third;

    /// <summary>Nothing more is to be found out.</summary>
    public void Close() => IsClosed = true;

    /// <summary>A worker told what came out; null where it was not asked for that.</summary>
    public Verdict? Take(MemberId from, ImmutableArray<ulong> digests)
    {
        if (IsClosed || (from != own && from != second && from != Third) || !_told.TryAdd(from, digests)) return null;
        if (!_told.ContainsKey(own) || !_told.ContainsKey(second)) return Verdict.Open;
        if (Third is not { } third) return Agree(own, second) ? Verdict.Same : Verdict.Unequal;
        if (!_told.ContainsKey(third)) return Verdict.Open;
        Wrong = Agree(own, third) ? second : Agree(second, third) ? own : null;
        return Wrong is null ? Verdict.Undecided : Verdict.Decided;
    }

    private bool Agree(MemberId a, MemberId b) => !_told[a].IsEmpty && _told[a].AsSpan().SequenceEqual(_told[b].AsSpan());
}

/// <summary>The shards of one step that are computed a second time. Nothing beyond the step is granted before all of them are closed.</summary>
internal sealed class StepVerification(long step, long ordered, IReadOnlyList<VerifiedShard> shards)
{
    public long Step => step;

    public IReadOnlyList<VerifiedShard> Shards => shards;

    /// <summary>Whether nothing more is to be found out.</summary>
    public bool IsClosed => shards.All(s => s.IsClosed);

    /// <summary>When it was ordered, by the coordinator's clock.</summary>
    public long Ordered => ordered;

    /// <summary>When the step was committed, by the coordinator's clock; null before.</summary>
    public long? Committed { get; set; }
}
