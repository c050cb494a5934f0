using System.Collections.Immutable;

namespace DistTrain.Core.Messages;

/// <summary>
/// Some shards of a step are computed a second time, by another worker, to see whether the bits are the same. Comes before the step is granted, and
/// again during it where a third worker has to decide. Of all shards named the worker tells what came out, as <see cref="ShardComputed"/>.
/// </summary>
/// <param name="Term">The coordinator's term.</param>
/// <param name="Step">The step.</param>
/// <param name="Apart">The worker's own, which it computes and pushes apart from its others; ascending.</param>
/// <param name="Again">Others', which it computes but doesn't push; ascending.</param>
public sealed record Verify(long Term, long Step, ImmutableArray<int> Apart, ImmutableArray<int> Again) : CoordinatorMessage;

/// <summary>What a shard's gradient came out as, where <see cref="Verify"/> asked for it.</summary>
/// <param name="Term">The worker's term.</param>
/// <param name="Step">The step.</param>
/// <param name="Shard">The shard.</param>
/// <param name="Digests">A digest of each bucket, as it travels, ascending; none where the step's weights are not there any more.</param>
public sealed record ShardComputed(long Term, long Step, int Shard, ImmutableArray<ulong> Digests) : MemberMessage;
