using System.Runtime.InteropServices;
using DistTrain.Core.Channels;
using DistTrain.Core.Layout;
using DistTrain.Core.Memory;
using DistTrain.Core.Messages;
using DistTrain.Training.Worker;
using DistTrain.Transport.SharedMemory;

namespace DistTrain.Fuzz.Targets;

/// <summary>The line of shared memory, which another process writes: its counters, its messages, and the regions that they name.</summary>
internal sealed unsafe class LineTarget : FuzzTarget
{
    // As SharedLine lays it out.
    private const int WrittenAt = 0, ReadAt = 128, AsleepAt = 256, SlotsAt = 384;
    private const long Term = 2;

    private static readonly ParameterLayout Layout = new([("a", [64], TensorRole.Parameter), ("b", [32], TensorRole.Parameter)]);
    private static readonly BucketPlan Plan = new(Layout, 1, 64);

    private readonly SharedRegion? _payloads = SharedRegion.Create(4096);

    public override string Name => "line";

    public override int Brief => 500;

    public override void Dispose() => _payloads?.Dispose();

    /// <summary>Written, read and asleep, a byte that says who reads, then messages.</summary>
    public override byte[] Make(FuzzRandom random)
    {
        int count = random.Next(8);
        var messages = new LineMessage[count];
        foreach (ref LineMessage message in messages.AsSpan())
        {
            var header = new SegmentHeader((SegmentKind)random.Next(2), random.Number(3), 1, random.Number(3), (int)random.Number(3), new((int)random.Number(4), (int)random.Number(5)), default);
            // Who reads it knows the region by a name of its own: see Read.
            message = LineMessage.Of(header, null, 0, 0);
            message.Pid = random.Chance(0.9) ? 1 : (int)random.Extreme();
            (message.RegionLength, message.Offset, message.Bytes) = (4096, random.Next(1024) * 4, random.Pick([80L, 256, 128, 320, 4, 0]));
            if (random.Chance(0.3)) message.Offset = random.Extreme();
            if (random.Chance(0.3)) message.Bytes = random.Extreme();
            if (random.Chance(0.2)) message.RegionLength = random.Extreme();
            if (random.Chance(0.1)) message.File = (int)random.Extreme();
        }

        byte[] bytes = [.. BitConverter.GetBytes(Counter()), .. BitConverter.GetBytes(Counter()), .. BitConverter.GetBytes(Counter()), (byte)random.Next(2), .. MemoryMarshal.AsBytes(messages.AsSpan())];
        return random.Chance(0.3) ? ByteMutator.Mutate(random, bytes, bytes) : bytes;

        uint Counter() => random.Chance(0.8) ? (uint)count : (uint)random.Extreme();
    }

    public override bool Read(byte[] input)
    {
        if (input.Length < 13 || _payloads is null || SharedLine<LineMessage>.Create() is not { } line) return false;
        using SharedLine<LineMessage> own = line;
        SharedRegion peer = SharedRegion.Create(SharedLine<LineMessage>.Length)!;
        Marshal.Copy(input, 0, peer.Address + WrittenAt, 4);
        Marshal.Copy(input, 4, peer.Address + ReadAt, 4);
        Marshal.Copy(input, 8, peer.Address + AsleepAt, 4);
        Marshal.Copy(input, 13, peer.Address + SlotsAt, (int)Math.Min(input.Length - 13, peer.Length - SlotsAt));
        own.Attach(peer);
        var regions = new SharedRegions();
        ServerRig? rig = input[12] == 0 ? new ServerRig(0) : null;
        rig?.Tell(new AcceptTerm(Term));
        rig?.Tell(new OwnPartition(Term, 0, 1, 16, 0));
        rig?.Tell(new Clock(Term, 0, 4, [], default));
        try
        {
            bool any = own.TryWrite(default);
            // Nothing more comes: the line is closed before it sleeps.
            while (own.Read(out LineMessage message, Close)) any |= rig is not null ? Segment(rig, regions, message) : Weights(regions, message);
            return any;
        }
        finally
        {
            rig?.DisposeAsync().AsTask().GetAwaiter().GetResult();
            regions.Close();
        }

        int Close()
        {
            own.Close();
            return 1;
        }
    }

    // A process that is there is this one; only numbers that are nobody's stand for others.
    private SharedRegionName Named(in LineMessage message) =>
        message.Pid == 1 ? _payloads!.Name with { Length = message.RegionLength, File = message.File == 0 ? _payloads.Name.File : message.File }
        : message.Region with { Pid = message.Pid > 0 ? int.MaxValue : message.Pid };

    private bool Segment(ServerRig rig, SharedRegions regions, in LineMessage message)
    {
        SegmentHeader segment = message.Segment;
        if (segment.Kind == SegmentKind.Evaluation) return rig.Server.CompleteSegmentAsync(segment, null, default).IsCompletedSuccessfully;
        if (regions.Find(Named(message), message.Offset, message.Bytes) is not var (_, place) || !rig.Server.Wants(segment, place.Length)) return false;
        return rig.Server.CompleteSegmentAsync(segment, regions.Lend(place), default).IsCompletedSuccessfully;
    }

    private bool Weights(SharedRegions regions, in LineMessage message)
    {
        if (regions.Find(Named(message), message.Offset, message.Bytes) is not var (region, place)) return false;
        using var store = new WeightsStore(Layout, Plan, Term, _ => { }, share: true);
        ValueTask reading = store.ReadAsync(message.Weights, place, region, default);
        if (!reading.IsCompleted) throw new BrokenPromiseException("the store waits");
        reading.GetAwaiter().GetResult();
        return true;
    }
}
