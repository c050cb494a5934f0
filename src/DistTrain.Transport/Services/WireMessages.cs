using System.Collections.Immutable;
using DistTrain.Core;
using DistTrain.Core.Channels;
using DistTrain.Core.Sharding;
using Google.Protobuf;
using Msg = DistTrain.Core.Messages;
using Wire = DistTrain.Transport.Proto.V1;

namespace DistTrain.Transport.Services;

/// <summary>Translates between the messages of the cluster and those of <c>proto/disttrain/v1</c>.</summary>
internal static class WireMessages
{
    // More than a timer takes is no timeout.
    private const long MostMilliseconds = int.MaxValue;
    private const int MostName = 1024;
    private const int MostText = 4096;

    public static Wire.MemberMessage ToWire(Msg.MemberMessage message) => message switch
    {
        Msg.JoinRequest m => new()
        {
            JoinRequest = new()
            {
                Role = m.Role == MemberRole.Worker ? Wire.Role.Worker : Wire.Role.Server,
                Host = m.Host,
                Pid = m.Pid,
                Incarnation = m.Incarnation,
                ProtocolVersion = m.ProtocolVersion,
                NumericsRevision = m.NumericsRevision,
                Endpoint = m.Endpoint,
                HostIdentity = m.HostIdentity,
            },
        },
        Msg.JoinReady m => new() { JoinReady = new() { JobHash = m.JobHash, DataHash = m.DataHash, LinkLatencySeconds = m.Link.Latency, LinkBytesPerSecond = m.Link.BytesPerSecond, HighestTerm = m.HighestTerm } },
        Msg.Heartbeat => new() { Heartbeat = new() },
        Msg.TermAccepted m => new() { TermAccepted = new() { Term = m.Term, HighestTerm = m.HighestTerm, Record = ByteString.CopyFrom(m.Record.Span), Held = m.Held is { } held ? ToWire(held) : null } },
        Msg.TermRefused m => new() { TermRefused = new() { Term = m.Term, HighestTerm = m.HighestTerm } },
        Msg.PartitionReady m => new() { PartitionReady = new() { Term = m.Term, Partition = m.Partition, Version = m.Version } },
        Msg.StepApplied m => new() { StepApplied = new() { Term = m.Term, Partition = m.Partition, Step = m.Step, Stats = ToWire(m.Stats), Segments = m.Segments, StalenessSum = m.StalenessSum, StalenessMax = m.StalenessMax, PushedBytes = m.Traffic.Pushed, BroadcastBytes = m.Traffic.Broadcast } },
        Msg.Traced m => new() { Traced = WireTrace.ToWire(m) },
        Msg.StepReached m => new() { StepReached = new() { Term = m.Term, Partition = m.Partition, Step = m.Step } },
        Msg.ShardsMissing m => new() { ShardsMissing = new() { Term = m.Term, Partition = m.Partition, Step = m.Step, Evaluation = m.Evaluation, Shards = { m.Shards } } },
        Msg.NormsMeasured m => new() { NormsMeasured = new() { Term = m.Term, Partition = m.Partition, Step = m.Step, Squares = { m.Squares } } },
        Msg.Watched m => new()
        {
            Watched = new()
            {
                Term = m.Term,
                Partition = m.Partition,
                Step = m.Step,
                Squares = { m.Squares },
                Zeros = { m.Zeros },
                Left = { m.Left },
                Right = { m.Right },
                LeftWeight = m.LeftWeight,
                RightWeight = m.RightWeight,
            },
        },
        Msg.EvaluationReduced m => new() { EvaluationReduced = new() { Term = m.Term, Version = m.Version, Stats = ToWire(m.Stats) } },
        Msg.ServerUnreachable m => new() { ServerUnreachable = new() { Term = m.Term, Partition = m.Partition, Cause = m.Cause } },
        Msg.ShardComputed m => new() { ShardComputed = new() { Term = m.Term, Step = m.Step, Shard = m.Shard, Digests = { m.Digests } } },
        Msg.ServerReached m => new() { ServerReached = new() { Term = m.Term, Partition = m.Partition } },
        Msg.Explained m => new() { Explained = new() { Round = m.Round, Doing = m.Doing, Step = m.Step, Shards = { m.Shards }, Buckets = { m.Buckets } } },
        Msg.Leaving m => new() { Leaving = new() { Reason = m.Reason } },
        Msg.Failed m => new() { Failed = new() { Cause = m.Cause, ExitCode = (int)m.Exit } },
        _ => throw new ArgumentException($"{message.GetType().Name} has no form on the wire", nameof(message)),
    };

    /// <summary>Null for a message of a kind that this build doesn't know: newer members may send more.</summary>
    public static Msg.MemberMessage? FromWire(Wire.MemberMessage message) => message.BodyCase switch
    {
        Wire.MemberMessage.BodyOneofCase.JoinRequest => FromWire(message.JoinRequest),
        Wire.MemberMessage.BodyOneofCase.JoinReady => new Msg.JoinReady(Plain(message.JoinReady.JobHash, MostName), Plain(message.JoinReady.DataHash, MostName)) { Link = Speed(message.JoinReady), HighestTerm = message.JoinReady.HighestTerm },
        Wire.MemberMessage.BodyOneofCase.Heartbeat => new Msg.Heartbeat(),
        Wire.MemberMessage.BodyOneofCase.TermAccepted => new Msg.TermAccepted(message.TermAccepted.Term, message.TermAccepted.HighestTerm, message.TermAccepted.Record.Memory)
        {
            Held = message.TermAccepted.Held is { } held ? FromWire(held) : null,
        },
        Wire.MemberMessage.BodyOneofCase.TermRefused => new Msg.TermRefused(message.TermRefused.Term, message.TermRefused.HighestTerm),
        Wire.MemberMessage.BodyOneofCase.PartitionReady => new Msg.PartitionReady(message.PartitionReady.Term, message.PartitionReady.Partition, message.PartitionReady.Version),
        Wire.MemberMessage.BodyOneofCase.StepApplied => new Msg.StepApplied(message.StepApplied.Term, message.StepApplied.Partition, message.StepApplied.Step, FromWire(message.StepApplied.Stats))
        {
            Segments = message.StepApplied.Segments,
            StalenessSum = message.StepApplied.StalenessSum,
            StalenessMax = message.StepApplied.StalenessMax,
            Traffic = new(message.StepApplied.PushedBytes, message.StepApplied.BroadcastBytes),
        },
        Wire.MemberMessage.BodyOneofCase.Traced => WireTrace.FromWire(message.Traced),
        Wire.MemberMessage.BodyOneofCase.StepReached => new Msg.StepReached(message.StepReached.Term, message.StepReached.Partition, message.StepReached.Step),
        Wire.MemberMessage.BodyOneofCase.ShardsMissing => new Msg.ShardsMissing(
            message.ShardsMissing.Term, message.ShardsMissing.Partition, message.ShardsMissing.Step, message.ShardsMissing.Evaluation, [.. message.ShardsMissing.Shards]),
        Wire.MemberMessage.BodyOneofCase.NormsMeasured => new Msg.NormsMeasured(
            message.NormsMeasured.Term, message.NormsMeasured.Partition, message.NormsMeasured.Step, [.. message.NormsMeasured.Squares]),
        Wire.MemberMessage.BodyOneofCase.Watched => FromWire(message.Watched),
        Wire.MemberMessage.BodyOneofCase.EvaluationReduced => new Msg.EvaluationReduced(message.EvaluationReduced.Term, message.EvaluationReduced.Version, FromWire(message.EvaluationReduced.Stats)),
        Wire.MemberMessage.BodyOneofCase.ServerUnreachable => new Msg.ServerUnreachable(message.ServerUnreachable.Term, message.ServerUnreachable.Partition, Plain(message.ServerUnreachable.Cause)),
        Wire.MemberMessage.BodyOneofCase.ShardComputed => new Msg.ShardComputed(message.ShardComputed.Term, message.ShardComputed.Step, message.ShardComputed.Shard, [.. message.ShardComputed.Digests]),
        Wire.MemberMessage.BodyOneofCase.ServerReached => new Msg.ServerReached(message.ServerReached.Term, message.ServerReached.Partition),
        Wire.MemberMessage.BodyOneofCase.Explained => new Msg.Explained(message.Explained.Round, Plain(message.Explained.Doing))
        {
            Step = message.Explained.Step,
            Shards = [.. message.Explained.Shards],
            Buckets = [.. message.Explained.Buckets],
        },
        Wire.MemberMessage.BodyOneofCase.Leaving => new Msg.Leaving(Plain(message.Leaving.Reason)),
        Wire.MemberMessage.BodyOneofCase.Failed => new Msg.Failed(Plain(message.Failed.Cause), (ExitCode)message.Failed.ExitCode),
        _ => null,
    };

    private static Msg.Watched FromWire(Wire.Watched m) => new(
        m.Term, m.Partition, m.Step, [.. m.Squares], [.. m.Zeros], [.. m.Left], [.. m.Right], m.LeftWeight, m.RightWeight);

    public static Wire.CoordinatorMessage ToWire(Msg.CoordinatorMessage message) => message switch
    {
        Msg.JobOffer m => new() { JobOffer = new() { Job = m.Job, JobHash = m.JobHash, DataHash = m.DataHash, Data = ToWire(m.Data), TraceEvents = m.TraceEvents } },
        Msg.TraceWanted => new() { TraceWanted = new() },
        Msg.Welcome m => new() { Welcome = new() { Member = m.Member.Value, Term = m.Term, FailureTimeoutMs = (long)m.FailureTimeout.TotalMilliseconds } },
        Msg.Refused m => new() { Refused = new() { Reason = m.Reason, ExitCode = (int)m.Exit } },
        Msg.AcceptTerm m => new() { AcceptTerm = new() { Term = m.Term } },
        Msg.OwnPartition m => new()
        {
            OwnPartition = new()
            {
                Term = m.Term,
                Partition = m.Partition,
                Partitions = m.Partitions,
                BucketLength = m.BucketLength,
                Version = m.Version,
                Shares = { m.Shares },
                Keep = m.Keep,
                IsReplica = m.IsReplica,
                Replica = m.Replica is { } replica ? ToWire(replica) : null,
                Replicated = m.Replicated,
                CopyAt = m.CopyAt,
            },
        },
        Msg.Explain m => new() { Explain = new() { Round = m.Round } },
        Msg.CopyCounts m => new() { CopyCounts = new() { Term = m.Term } },
        Msg.Topology m => new() { Topology = ToWire(m) },
        Msg.Assignment m => new() { Assignment = new() { Term = m.Term, Shards = { m.Shards } } },
        Msg.Clock m => new()
        {
            Clock = new()
            {
                Term = m.Term,
                CommittedVersion = m.CommittedVersion,
                GrantedUntil = m.GrantedUntil,
                Checkpoints = { m.Checkpoints },
                Record = ByteString.CopyFrom(m.Record.Span),
                RateFactor = m.RateFactor,
            },
        },
        Msg.Evaluate m => new() { Evaluate = new() { Term = m.Term, Version = m.Version, Shards = { m.Shards } } },
        Msg.NormsDecided m => new() { NormsDecided = ToWire(m) },
        Msg.MissingAsked m => new() { MissingAsked = new() { Term = m.Term, Step = m.Step, Evaluation = m.Evaluation } },
        Msg.Verify m => new() { Verify = new() { Term = m.Term, Step = m.Step, Apart = { m.Apart }, Again = { m.Again } } },
        Msg.Assist m => new() { Assist = new() { Term = m.Term, Step = m.Step, Until = m.Until, Shards = { m.Shards } } },
        Msg.Evicted m => new() { Evicted = new() { Cause = m.Cause } },
        Msg.Stop m => new() { Stop = new() { Reason = m.Reason, ExitCode = (int)m.Exit } },
        _ => throw new ArgumentException($"{message.GetType().Name} has no form on the wire", nameof(message)),
    };

    /// <summary>Null for a message of a kind that this build doesn't know.</summary>
    public static Msg.CoordinatorMessage? FromWire(Wire.CoordinatorMessage message) => message.BodyCase switch
    {
        Wire.CoordinatorMessage.BodyOneofCase.JobOffer => new Msg.JobOffer(
            message.JobOffer.Job, message.JobOffer.JobHash, message.JobOffer.DataHash, FromWire(message.JobOffer.Data ?? new()))
        {
            TraceEvents = message.JobOffer.TraceEvents,
        },
        Wire.CoordinatorMessage.BodyOneofCase.TraceWanted => new Msg.TraceWanted(),
        Wire.CoordinatorMessage.BodyOneofCase.Welcome => new Msg.Welcome(
            new MemberId(message.Welcome.Member), message.Welcome.Term, TimeSpan.FromMilliseconds(Math.Clamp(message.Welcome.FailureTimeoutMs, 0, MostMilliseconds))),
        Wire.CoordinatorMessage.BodyOneofCase.Refused => new Msg.Refused(message.Refused.Reason, (ExitCode)message.Refused.ExitCode),
        Wire.CoordinatorMessage.BodyOneofCase.AcceptTerm => new Msg.AcceptTerm(message.AcceptTerm.Term),
        Wire.CoordinatorMessage.BodyOneofCase.OwnPartition => new Msg.OwnPartition(
            message.OwnPartition.Term, message.OwnPartition.Partition, message.OwnPartition.Partitions, message.OwnPartition.BucketLength, message.OwnPartition.Version)
        {
            Shares = [.. message.OwnPartition.Shares],
            Keep = message.OwnPartition.Keep,
            IsReplica = message.OwnPartition.IsReplica,
            Replica = message.OwnPartition.Replica is { } replica ? FromWire(replica) : null,
            Replicated = message.OwnPartition.Replicated,
            CopyAt = message.OwnPartition.CopyAt,
        },
        Wire.CoordinatorMessage.BodyOneofCase.Explain => new Msg.Explain(message.Explain.Round),
        Wire.CoordinatorMessage.BodyOneofCase.CopyCounts => new Msg.CopyCounts(message.CopyCounts.Term),
        Wire.CoordinatorMessage.BodyOneofCase.Topology => FromWire(message.Topology),
        Wire.CoordinatorMessage.BodyOneofCase.Assignment => new Msg.Assignment(message.Assignment.Term, [.. message.Assignment.Shards]),
        Wire.CoordinatorMessage.BodyOneofCase.Clock => new Msg.Clock(
            message.Clock.Term, message.Clock.CommittedVersion, message.Clock.GrantedUntil, [.. message.Clock.Checkpoints], message.Clock.Record.Memory)
        {
            RateFactor = message.Clock.HasRateFactor ? message.Clock.RateFactor : 1,
        },
        Wire.CoordinatorMessage.BodyOneofCase.Evaluate => new Msg.Evaluate(message.Evaluate.Term, message.Evaluate.Version, [.. message.Evaluate.Shards]),
        Wire.CoordinatorMessage.BodyOneofCase.NormsDecided => FromWire(message.NormsDecided),
        Wire.CoordinatorMessage.BodyOneofCase.MissingAsked => new Msg.MissingAsked(message.MissingAsked.Term, message.MissingAsked.Step, message.MissingAsked.Evaluation),
        Wire.CoordinatorMessage.BodyOneofCase.Verify => new Msg.Verify(message.Verify.Term, message.Verify.Step, [.. message.Verify.Apart], [.. message.Verify.Again]),
        Wire.CoordinatorMessage.BodyOneofCase.Assist => new Msg.Assist(message.Assist.Term, message.Assist.Step, message.Assist.Until, [.. message.Assist.Shards]),
        Wire.CoordinatorMessage.BodyOneofCase.Evicted => new Msg.Evicted(message.Evicted.Cause),
        Wire.CoordinatorMessage.BodyOneofCase.Stop => new Msg.Stop(message.Stop.Reason, (ExitCode)message.Stop.ExitCode),
        _ => null,
    };

    public static Wire.Segment ToWire(in SegmentHeader header) => new()
    {
        Kind = header.Kind == SegmentKind.Gradient ? Wire.SegmentKind.Gradient : Wire.SegmentKind.Evaluation,
        Term = header.Term,
        Incarnation = header.Incarnation,
        Step = header.Step,
        Bucket = header.Bucket,
        Shards = new() { Lo = header.Shards.Lo, Hi = header.Shards.Hi },
        Stats = ToWire(header.Stats),
        Basis = header.Basis,
        Number = header.Number,
        Oldest = header.Oldest,
    };

    public static SegmentHeader FromWire(Wire.Segment segment) => new(
        segment.Kind == Wire.SegmentKind.Evaluation ? SegmentKind.Evaluation : SegmentKind.Gradient,
        segment.Term, segment.Incarnation, segment.Step, segment.Bucket,
        new ShardRange(segment.Shards?.Lo ?? 0, segment.Shards?.Hi ?? 0), FromWire(segment.Stats))
    {
        Basis = segment.Basis,
        Number = segment.Number,
        Oldest = segment.Oldest,
    };

    public static Wire.Weights ToWire(in WeightsHeader header) => new()
    {
        Term = header.Term,
        Version = header.Version,
        Bucket = header.Bucket,
        Averaged = header.Averaged,
        Updates = header.Updates,
        Taken = header.Taken,
    };

    public static WeightsHeader FromWire(Wire.Weights weights) => new(weights.Term, weights.Version, weights.Bucket)
    {
        Averaged = weights.Averaged,
        Updates = weights.Updates,
        Taken = weights.Taken,
    };

    public static Wire.CheckpointPiece ToWire(CheckpointPieceHeader header) => new()
    {
        Term = header.Term,
        Version = header.Version,
        Partition = header.Partition,
        Vector = header.Vector,
        Offset = header.Offset,
    };

    public static CheckpointPieceHeader FromWire(Wire.CheckpointPiece piece) => new(piece.Term, piece.Version, piece.Partition, piece.Vector, piece.Offset);

    private static Wire.SegmentStats ToWire(SegmentStats stats) =>
        new() { LossSum = stats.LossSum, WeightSum = stats.WeightSum, Correct = stats.Correct, Examples = stats.Examples, Predictions = stats.Predictions, ExampleDigest = stats.ExampleDigest };

    private static SegmentStats FromWire(Wire.SegmentStats? stats) =>
        stats is null ? default : new(stats.LossSum, stats.WeightSum, stats.Correct, stats.Examples, stats.Predictions) { ExampleDigest = stats.ExampleDigest };

    private static Msg.JoinRequest FromWire(Wire.JoinRequest request) => new(
        request.Role == Wire.Role.Server ? MemberRole.Server : MemberRole.Worker,
        Plain(request.Host, MostName), request.Pid, request.Incarnation, request.ProtocolVersion, request.NumericsRevision, Plain(request.Endpoint, MostName))
    { HostIdentity = Plain(request.HostIdentity, MostName) };

    private static Wire.DataFacts ToWire(Msg.DataFacts facts) => new()
    {
        InputShape = { facts.InputShape },
        Classes = facts.Classes,
        TargetWidth = facts.TargetWidth,
        TrainExamples = facts.TrainExamples,
        TestExamples = facts.TestExamples,
    };

    private static Msg.DataFacts FromWire(Wire.DataFacts facts) =>
        new([.. facts.InputShape], facts.Classes, facts.TargetWidth, facts.TrainExamples, facts.TestExamples);

    private static Wire.Topology ToWire(Msg.Topology topology) => new()
    {
        Term = topology.Term,
        BucketLength = topology.BucketLength,
        Shares = { topology.Shares },
        Servers = { topology.Servers.Select(ToWire) },
        Replicated = topology.Replicated,
    };

    private static Msg.Topology FromWire(Wire.Topology topology) => new(
        topology.Term, topology.BucketLength,
        topology.Servers.Select(FromWire).ToImmutableArray())
    {
        Shares = [.. topology.Shares],
        Replicated = topology.Replicated,
    };

    private static Wire.ServerAddress ToWire(ServerAddress server) => new() { Partition = server.Partition, Member = server.Member.Value, Endpoint = server.Endpoint };

    private static ServerAddress FromWire(Wire.ServerAddress server) => new(server.Partition, new MemberId(server.Member), server.Endpoint);

    private static Wire.NormsDecided ToWire(Msg.NormsDecided norms) => new() { Term = norms.Term, Step = norms.Step, Squares = { norms.Squares } };

    private static Msg.NormsDecided FromWire(Wire.NormsDecided norms) => new(norms.Term, norms.Step, [.. norms.Squares]);

    private static Wire.HeldPartition ToWire(Msg.HeldPartition held) => new()
    {
        Term = held.Term,
        Partition = held.Partition,
        Partitions = held.Partitions,
        BucketLength = held.BucketLength,
        Shares = { held.Shares },
        IsReplica = held.IsReplica,
        IsAhead = held.IsAhead,
        Version = held.Version,
        Applied = { held.Applied.Select(a => new Wire.AppliedStep { Step = a.Step, Stats = ToWire(a.Stats) }) },
        Norms = held.Norms is { } norms ? ToWire(norms) : null,
    };

    private static Msg.HeldPartition FromWire(Wire.HeldPartition held) => new(held.Term, held.Partition, held.Partitions, held.BucketLength, held.IsReplica, held.Version)
    {
        IsAhead = held.IsAhead,
        Shares = [.. held.Shares],
        Applied = [.. held.Applied.Select(a => new Msg.AppliedStep(a.Step, FromWire(a.Stats)))],
        Norms = held.Norms is { } norms ? FromWire(norms) : null,
    };

    // A member's words are kept and shown: not more than a person reads, and nothing that a terminal obeys.
    private static string Plain(string text, int most = MostText) =>
        text.Length <= most && !text.Any(char.IsControl) ? text : new([.. text.Take(most).Select(c => char.IsControl(c) ? ' ' : c)]);

    // Numbers of a peer: what isn't one counts as not measured.
    private static LinkSpeed Speed(Wire.JoinReady ready) =>
        double.IsFinite(ready.LinkLatencySeconds) && double.IsFinite(ready.LinkBytesPerSecond) ? new(ready.LinkLatencySeconds, ready.LinkBytesPerSecond) : default;
}
