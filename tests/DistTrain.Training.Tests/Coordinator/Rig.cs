using DistTrain.Core;
using DistTrain.Core.Actors;
using DistTrain.Core.Messages;
using DistTrain.Core.Sharding;
using DistTrain.Core.Tracing;
using DistTrain.Tests;
using DistTrain.Training.Coordinator;

namespace DistTrain.Training.Tests.Coordinator;

/// <summary>A coordinator with everything around it in the test's hand.</summary>
internal sealed class Rig : ICoordinatorEvents, IMembership, IActorContext
{
    private readonly Training.Coordinator.Coordinator _coordinator;
    private readonly TrainingPlan _plan;
    private readonly Queue<object> _mailbox = new();
    private ulong _incarnation;

    public Rig(TrainingPlan plan)
    {
        _plan = plan;
        _coordinator = new Training.Coordinator.Coordinator(plan, this, this, (_, version, record) =>
        {
            Expected.Add(version);
            Records[version] = EvaluationRecord.Parse(record);
        }, Time, () => Kept);
    }

    public ManualTime Time { get; } = new();

    public List<object> Events { get; } = [];

    public List<long> Expected { get; } = [];

    public Dictionary<long, EvaluationRecord> Records { get; } = [];

    /// <summary>What servers can be given after a loss.</summary>
    public (long Version, ReadOnlyMemory<byte> Record) Kept { get; set; }

    public Outcome? Outcome { get; private set; }

    public long Term { get; private set; }

    public ClusterView Current { get; private set; } = ClusterView.Empty;

    public IActorRef Self => throw new InvalidOperationException();

    public IActorRef? Sender => null;

    public CancellationToken Stopping => default;

    /// <summary>One message, and then those that it caused at this end.</summary>
    public void Tell(object message)
    {
        _mailbox.Enqueue(message);
        if (_mailbox.Count > 1) return;
        while (_mailbox.TryPeek(out object? next))
        {
            Assert.True(_coordinator.ReceiveAsync(next, this).IsCompletedSuccessfully);
            _mailbox.Dequeue();
        }
    }

    public void Say(Link link, MemberMessage message) => Tell(new LinkReceived(link, message));

    public Link Open()
    {
        var link = new Link();
        Tell(new LinkOpened(link));
        return link;
    }

    public Link Join(MemberRole role, int pid = 1000, long highestTerm = 0)
    {
        Link link = Open();
        Say(link, new JoinRequest(role, "host", pid, ++_incarnation, Protocol.Version, 1, role == MemberRole.Server ? "http://host:1" : ""));
        Say(link, new JoinReady("job", "data") { HighestTerm = highestTerm });
        Assert.NotNull(link.Last<Welcome>());
        return link;
    }

    public void Close(Link link, string cause) => Tell(new LinkClosed(link, cause));

    /// <summary>All members join, and training begins.</summary>
    public (List<Link> Servers, List<Link> Workers) Start()
    {
        List<Link> servers = [.. Enumerable.Range(0, _plan.Servers).Select(_ => Join(MemberRole.Server))];
        List<Link> workers = [.. Enumerable.Range(0, _plan.Workers).Select(_ => Join(MemberRole.Worker))];
        Lead(servers, 0);
        return (servers, workers);
    }

    /// <summary>Servers accept the term and take their partitions.</summary>
    public void Lead(List<Link> servers, long version)
    {
        Term = servers[0].Last<AcceptTerm>().Term;
        foreach (Link server in servers) Say(server, new TermAccepted(Term, 0, default));
        foreach (Link server in servers) Say(server, new PartitionReady(Term, server.Last<OwnPartition>().Partition, version));
    }

    /// <summary>Another term is the one that matters.</summary>
    public void Follow(long term) => Term = term;

    public StepApplied Applied(Link server, long step) =>
        new(Term, server.Last<OwnPartition>().Partition, step, new SegmentStats(2, 4, 3, 4, 4));

    void ICoordinatorEvents.Waiting(string message) => Events.Add(message);

    void ICoordinatorEvents.Started(int workers, int servers) => Events.Add("started");

    void ICoordinatorEvents.Committed(long version, SegmentStats stats) => Events.Add(version);

    void ICoordinatorEvents.Evaluated(long version, SegmentStats stats) => Events.Add($"evaluated {version}");

    void ICoordinatorEvents.Watched(WatchReport report) => Events.Add(report);

    void ICoordinatorEvents.Traced(IReadOnlyList<TraceTrack> tracks) => Events.Add(tracks);

    void ICoordinatorEvents.Saved(long version, string path) => Events.Add($"saved {version}");

    void ICoordinatorEvents.Joined(Member member) => Events.Add($"joined {member.Id}");

    void ICoordinatorEvents.Lost(Member member, string cause, long version) => Events.Add($"lost {member.Id}: {cause}");

    ReadOnlyMemory<byte> ICoordinatorEvents.Figures => new byte[] { 42 };

    void ICoordinatorEvents.Resumed(long version, ReadOnlyMemory<byte> figures) => Events.Add($"resumed {version} with {figures.Span[0]}");

    void ICoordinatorEvents.WentBack(long version) => Events.Add($"went back to {version}");

    void ICoordinatorEvents.Noted(string message) => Events.Add(message);

    void ICoordinatorEvents.Warn(string message) => Events.Add(message);

    void ICoordinatorEvents.Finished(Outcome outcome) => Outcome = outcome;

    void IMembership.Admit(Member member) => Change(Current.With(member));

    void IMembership.Heard(MemberId member)
    {
    }

    void IMembership.Remove(MemberId member, string cause) => Change(Current.Without(member, cause));

    IAsyncEnumerable<ClusterView> IMembership.WatchAsync(CancellationToken cancellation) => throw new InvalidOperationException();

    // Views come as messages, after the handler that caused them.
    private void Change(ClusterView view)
    {
        if (view.Version == Current.Version) return;
        Current = view;
        Tell(new ViewChanged(view));
    }

    internal sealed class Link : IMemberLink
    {
        public List<CoordinatorMessage> Sent { get; } = [];

        public bool Closed { get; private set; }

        public string Remote => "test";

        public MemberId? Member { get; set; }

        public T Last<T>()
            where T : CoordinatorMessage => Sent.OfType<T>().Last();

        public void Send(CoordinatorMessage message) => Sent.Add(message);

        public void Close() => Closed = true;
    }
}
