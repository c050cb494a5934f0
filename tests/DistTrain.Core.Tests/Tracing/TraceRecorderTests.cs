using DistTrain.Core.Sharding;
using DistTrain.Core.Tracing;

namespace DistTrain.Core.Tests.Tracing;

public class TraceRecorderTests
{
    [Fact]
    public void Full_KeepsTheLastEventsInTheirOrder()
    {
        var recorder = new TraceRecorder(8);
        for (int step = 0; step < 20; step++) recorder.Mark(TraceName.Granted, step);
        Assert.Equal([12, 13, 14, 15, 16, 17, 18, 19], recorder.Take().Select(e => e.Value));
        Assert.Equal(12, recorder.Lost);
    }

    [Fact]
    public void End_RecordsWhatAndWhen()
    {
        var recorder = new TraceRecorder(4);
        long before = TraceRecorder.Now;
        long began = recorder.Begin();
        recorder.End(TraceName.Pushed, began, 7, 3, new ShardRange(2, 4), onChannel: true);
        long after = TraceRecorder.Now;
        TraceEvent what = Assert.Single(recorder.Take());
        Assert.Equal((TraceName.Pushed, 7L, 3, new ShardRange(2, 4), true), (what.Name, what.Value, what.Bucket, what.Shards, what.OnChannel));
        Assert.InRange(what.Start, before, after);
        Assert.InRange(what.End, what.Start, after);
    }

    [Fact]
    public void Recording_AllocatesNothing_OnOrOff()
    {
        foreach (TraceRecorder? recorder in (TraceRecorder?[])[new TraceRecorder(64), null])
        {
            Record(recorder, 200);
            long before = GC.GetAllocatedBytesForCurrentThread();
            Record(recorder, 200);
            Assert.Equal(before, GC.GetAllocatedBytesForCurrentThread());
        }
    }

    [Fact]
    public async Task ManyThreads_LoseNothing()
    {
        const int each = 5000;
        var recorder = new TraceRecorder(4 * each);
        await Task.WhenAll(Enumerable.Range(0, 4).Select(t => Task.Run(() =>
        {
            for (int i = 0; i < each; i++) recorder.Mark(TraceName.Reduced, i, bucket: t);
        })));
        foreach (IGrouping<int, TraceEvent> thread in recorder.Take().GroupBy(e => e.Bucket)) Assert.Equal(Enumerable.Range(0, each).Select(i => (long)i), thread.Select(e => e.Value));
        Assert.Equal(0, recorder.Lost);
    }

    [Fact]
    public void Track_TakesTimesToTheCoordinatorsClock()
    {
        var track = new TraceTrack(null) { ClockOffset = 100 };
        track.Add([new TraceEvent { Name = TraceName.Loss, Start = 5, Duration = 3 }, default]);
        Assert.Equal((105, 108), (Assert.Single(track.Events).Start, track.Events[0].End));
    }

    private static void Record(TraceRecorder? recorder, int times)
    {
        for (int i = 0; i < times; i++)
        {
            long began = recorder.Begin();
            recorder.End(TraceName.Forward, began, i);
            recorder.Mark(TraceName.GradientReady, i, 1);
            recorder.Count(TraceName.StepsHeld, i);
        }
    }
}
