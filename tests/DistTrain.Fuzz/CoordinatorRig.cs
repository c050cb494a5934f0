using DistTrain.Core;
using DistTrain.Core.Actors;
using DistTrain.Core.Layout;
using DistTrain.Core.Messages;
using DistTrain.Core.Sharding;
using DistTrain.Core.Tracing;
using DistTrain.Optim;
using DistTrain.Tests;
using DistTrain.Training;
using DistTrain.Training.Coordinator;

namespace DistTrain.Fuzz;

/// <summary>A coordinator with two servers and two workers, in the middle of a job; others may come.</summary>
internal sealed class CoordinatorRig : ICoordinatorEvents, IMembership, IActorContext
{
    private static readonly ParameterLayout Layout = new([("a", [64, 3], TensorRole.Parameter), ("b", [32], TensorRole.Undecayed), ("c", [9000], TensorRole.Parameter)]);

    private readonly Coordinator _coordinator;
    private readonly Queue<object> _mailbox = new();
    private ulong _incarnation;

    /// <summary>Sets a job up in one of several ways, and begins it.</summary>
    public CoordinatorRig(int way)
    {
        Plan = PlanOf(way);
        _coordinator = new Coordinator(Plan, this, this, (_, _, _) => { }, Time, () => (0, default));
        for (int i = 0; i < 4; i++) Open();
        if ((way & 64) != 0) return;
        for (int i = 0; i < 4; i++)
        {
            Say(Links[i], new JoinRequest(i < 2 ? MemberRole.Server : MemberRole.Worker, "host", 1000 + i, ++_incarnation, Protocol.Version, 1, i < 2 ? "http://host:1" : ""));
            if ((way & 32) == 0) Say(Links[i], new JoinReady("job", "data") { Link = new LinkSpeed(1e-4, 1e8 * (i + 1)) });
        }
    }

    public ManualTime Time { get; } = new();

    public TrainingPlan Plan { get; }

    public List<Link> Links { get; } = [];

    public ClusterView Current { get; private set; } = ClusterView.Empty;

    public IActorRef Self => throw new InvalidOperationException();

    public IActorRef? Sender => null;

    public CancellationToken Stopping => default;

    public Link Open()
    {
        var link = new Link();
        Links.Add(link);
        Tell(new LinkOpened(link));
        return link;
    }

    /// <summary>One message, and then those that it caused at this end.</summary>
    public void Tell(object message)
    {
        _mailbox.Enqueue(message);
        if (_mailbox.Count > 1) return;
        while (_mailbox.TryPeek(out object? next))
        {
            ValueTask done = _coordinator.ReceiveAsync(next, this);
            if (!done.IsCompletedSuccessfully) throw new BrokenPromiseException("the coordinator waits");
            _mailbox.Dequeue();
        }
    }

    public void Say(Link link, MemberMessage message) => Tell(new LinkReceived(link, message));

    void ICoordinatorEvents.Waiting(string message)
    {
    }

    void ICoordinatorEvents.Started(int workers, int servers)
    {
    }

    void ICoordinatorEvents.Committed(long version, SegmentStats stats)
    {
    }

    void ICoordinatorEvents.Evaluated(long version, SegmentStats stats)
    {
    }

    void ICoordinatorEvents.Watched(WatchReport report)
    {
    }

    void ICoordinatorEvents.Traced(IReadOnlyList<TraceTrack> tracks)
    {
    }

    void ICoordinatorEvents.Saved(long version, string path)
    {
    }

    void ICoordinatorEvents.Joined(Member member)
    {
    }

    void ICoordinatorEvents.Lost(Member member, string cause, long version)
    {
    }

    ReadOnlyMemory<byte> ICoordinatorEvents.Figures => default;

    void ICoordinatorEvents.Resumed(long version, ReadOnlyMemory<byte> figures)
    {
    }

    void ICoordinatorEvents.WentBack(long version)
    {
    }

    void ICoordinatorEvents.Noted(string message)
    {
    }

    void ICoordinatorEvents.Warn(string message)
    {
    }

    void ICoordinatorEvents.Finished(Outcome outcome)
    {
    }

    void IMembership.Admit(Member member) => Change(Current.With(member));

    void IMembership.Heard(MemberId member)
    {
    }

    void IMembership.Remove(MemberId member, string cause) => Change(Current.Without(member, cause));

    IAsyncEnumerable<ClusterView> IMembership.WatchAsync(CancellationToken cancellation) => throw new InvalidOperationException();

    private void Change(ClusterView view)
    {
        if (view.Version == Current.Version) return;
        Current = view;
        Tell(new ViewChanged(view));
    }

    private static TrainingPlan PlanOf(int way) => new()
    {
        JobText = "name: test",
        JobHash = "job",
        DataHash = "data",
        Data = new DataFacts([4], 2, 1, 100, 20),
        NumericsRevision = 1,
        Shards = 8,
        StepsPerEpoch = 3,
        TotalSteps = 6,
        Evaluates = true,
        CheckpointEvery = 2,
        Workers = 2,
        Servers = 2,
        MostPartitions = 3,
        Layout = Layout,
        BucketLength = (way & 1) != 0 ? 4096 : null,
        Local = new LinkSpeed(1e-5, 1e10),
        NormedLayout = (way & 2) != 0 ? Layout : null,
        Watched = (way & 4) != 0 ? new WatchedModel(Layout, [(1, "relu")]) : null,
        Assists = (way & 8) != 0,
        Consistency = (way & 24) == 16 ? Consistency.Async : Consistency.Sync,
        Trace = (way & 16) != 0 ? new TraceRecorder(16) : null,
        Monitoring = (way & 4) != 0 ? new EvaluationRules(new EarlyStopping(2), null, 3) : null,
        FirstVersion = 0,
        FailureTimeout = TimeSpan.FromSeconds(3),
        JoinTimeout = TimeSpan.FromSeconds(60),
    };

    internal sealed class Link : IMemberLink
    {
        public List<CoordinatorMessage> Sent { get; } = [];

        public bool Closed { get; private set; }

        public string Remote => "fuzz";

        public MemberId? Member { get; set; }

        public void Send(CoordinatorMessage message) => Sent.Add(message);

        public void Close() => Closed = true;
    }
}
