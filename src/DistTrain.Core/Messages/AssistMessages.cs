using System.Collections.Immutable;

namespace DistTrain.Core.Messages;

/// <summary>
/// A step takes longer than it should: a server answers with the shards that it still waits for, as <see cref="ShardsMissing"/>.
/// </summary>
/// <param name="Term">The coordinator's term.</param>
/// <param name="Step">The step, or the version that is evaluated.</param>
/// <param name="Evaluation">Whether shards of an evaluation are asked for.</param>
public sealed record MissingAsked(long Term, long Step, bool Evaluation) : CoordinatorMessage;

/// <summary>
/// A worker computes these shards, which are others', too in each of the steps [Step, Until) that isn't committed when its own are done. It
/// replaces an earlier order; the next <see cref="Assignment"/> ends it.
/// </summary>
/// <param name="Term">The coordinator's term.</param>
/// <param name="Step">The first step.</param>
/// <param name="Until">The first step to which it doesn't apply any more.</param>
/// <param name="Shards">The shards, ascending.</param>
public sealed record Assist(long Term, long Step, long Until, ImmutableArray<int> Shards) : CoordinatorMessage;

/// <summary>What a server was asked for by <see cref="MissingAsked"/>.</summary>
/// <param name="Term">The server's term.</param>
/// <param name="Partition">Its partition.</param>
/// <param name="Step">The step, or the version that is evaluated.</param>
/// <param name="Evaluation">Whether these are shards of an evaluation.</param>
/// <param name="Shards">The shards that some bucket lacks, ascending; none once it has applied the step.</param>
public sealed record ShardsMissing(long Term, int Partition, long Step, bool Evaluation, ImmutableArray<int> Shards) : MemberMessage;
