using System.Collections.Immutable;
using DistTrain.Core;
using DistTrain.Core.Actors;
using DistTrain.Core.Channels;
using DistTrain.Core.Messages;
using DistTrain.Data;
using DistTrain.Nn;
using DistTrain.Training;
using DistTrain.Training.Worker;
using DistTrain.Transport.Grpc;
using DistTrain.Transport.Services;
using Google.Protobuf;
using Wire = DistTrain.Transport.Proto.V1;

namespace DistTrain.Fuzz.Targets;

/// <summary>A worker, whose coordinator orders anything and whose server sends any version of the weights.</summary>
internal sealed class WorkerTarget : FuzzTarget
{
    private const byte Orders = 0, Sends = 1;
    private const int Shards = 4;
    private const long Term = 2;

    private static readonly Model Net = Model.Build(new([Layers.Dense(6), Layers.Tanh(), Layers.Dense(3)]), Losses.SoftmaxCrossEntropy, [5], 3, 0);
    private static readonly ArrayDataset Data = new(Enumerable.Range(0, 20 * 5).Select(i => i / 100f).ToArray(), [5], Enumerable.Range(0, 20).Select(i => i % 3).ToArray(), 3);

    public override string Name => "worker";

    public override int Brief => 1000;

    // What a worker of a small model holds, and what it plans for each assignment.
    public override long Limit(byte[] input) => (4 << 20) + (2000L * input.Length);

    public override byte[] Make(FuzzRandom random) => Script.Make((byte)random.Next(4), Story(random));

    public override bool Read(byte[] input)
    {
        if (input.Length == 0) return false;
        var rig = new Rig(input[0]);
        try
        {
            foreach ((byte kind, byte[] bytes) in Script.Read(input))
            {
                if (kind == Orders) Order(rig, bytes);
                else if (bytes.Length >= 2) rig.Arrive(bytes[0] % 8, bytes[1] % 4);
            }
        }
        finally
        {
            rig.Dispose();
        }

        return true;
    }

    private static void Order(Rig rig, byte[] bytes)
    {
        CoordinatorMessage? message;
        try
        {
            message = WireMessages.FromWire(MessageCodec<Wire.CoordinatorMessage>.Instance.Parse(new(bytes)));
        }
        catch (GrpcException)
        {
            return;
        }

        if (message is not null) rig.Tell(message);
    }

    private static IEnumerable<(byte Kind, byte[] Bytes)> Story(FuzzRandom random)
    {
        if (random.Chance(0.9))
        {
            yield return (Orders, Bytes(new Topology(Term, 16, [new ServerAddress(0, new MemberId(1), "http://host:1")])));
            yield return (Orders, Bytes(new Assignment(Term, [.. Enumerable.Range(random.Next(3), random.Next(3))])));
            yield return (Orders, Bytes(new Clock(Term, 0, 4, [], default)));
            for (byte b = 0; b < 4; b++) yield return (Sends, [0, b]);
        }

        for (int entries = random.Next(12); entries > 0; entries--)
        {
            if (random.Chance(0.4))
            {
                yield return (Sends, [(byte)random.Next(4), (byte)random.Next(4)]);
                continue;
            }

            var any = (Wire.CoordinatorMessage)ProtoSamples.Make(random, Wire.CoordinatorMessage.Descriptor, 0.85);
            if (random.Chance(0.8)) ProtoSamples.Set(any, "term", random.Chance(0.9) ? Term : Term + 1);
            if (any.Topology is { } topology && random.Chance(0.5)) topology.BucketLength = 16;
            yield return (Orders, Frames.Damaged(random, any, 0.2));
        }
    }

    private static byte[] Bytes(CoordinatorMessage message) => WireMessages.ToWire(message).ToByteArray();

    private sealed class Rig : IActorRef, IActorContext, IChannel, IDisposable
    {
        private readonly Queue<object> _mailbox = new();
        private readonly Worker _worker;
        private IWeightsSink? _sink;
        private long _term;
        private bool _busy;

        public Rig(int way)
        {
            var setup = new WorkerSetup(Net, Data, Data, 1, 8, Shards, 1) { Averages = (way & 1) != 0, Consistency = (way & 2) != 0 ? Consistency.Async : Consistency.Sync };
            _worker = new Worker(setup, this, 1, TimeSpan.FromSeconds(1), _ => { }, _ => { });
        }

        public string Path => "worker";

        public string Name => "fuzz";

        public IActorRef Self => this;

        public IActorRef? Sender => null;

        public CancellationToken Stopping => default;

        public void Tell(object message, IActorRef? sender = null)
        {
            _mailbox.Enqueue(message);
            if (_busy) return;
            _busy = true;
            while (_mailbox.TryDequeue(out object? next))
            {
                ValueTask done = _worker.ReceiveAsync(next, this);
                if (!done.IsCompleted) throw new BrokenPromiseException("the worker waits");
                done.GetAwaiter().GetResult();
            }

            _busy = false;
        }

        public ValueTask TellAsync(object message, IActorRef? sender = null, CancellationToken cancellation = default)
        {
            Tell(message);
            return default;
        }

        public Task<T> AskAsync<T>(object message, TimeSpan deadline, CancellationToken cancellation = default) => throw new InvalidOperationException();

        public Task<IServerConnection> ConnectAsync(ServerAddress server, long term, ulong incarnation, IWeightsSink sink, CancellationToken cancellation)
        {
            (_sink, _term) = (sink, term);
            return Task.FromResult<IServerConnection>(new Connection());
        }

        // Weights of zeros.
        public void Arrive(long version, int bucket)
        {
            if (_sink is null) return;
            var header = new WeightsHeader(_term, version, bucket) { Updates = version };
            ValueTask<NativeSpan> begin = _sink.BeginAsync(header, default);
            if (!begin.IsCompleted) return;
            NativeSpan place = begin.GetAwaiter().GetResult();
            if (place.Address == 0) return;
            place.Span.Clear();
            _sink.Complete(header);
        }

        public void Dispose() => _worker.DisposeAsync().AsTask().GetAwaiter().GetResult();
    }

    private sealed class Connection : IServerConnection
    {
        public Task<string?> Lost { get; } = new TaskCompletionSource<string?>().Task;

        public void Push(in SegmentHeader header, NativeSpan payload)
        {
        }

        public ValueTask DisposeAsync() => default;
    }
}
