using System.Runtime.CompilerServices;
using DistTrain.Core.Memory;

namespace DistTrain.Core.Tests.Memory;

/// <summary>A line of messages through shared memory. Linux only; elsewhere there is none, and nothing to test.</summary>
public sealed class SharedLineTests
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(60);

    [Fact]
    public void Read_WhatTheOtherSideWrote_ComesInOrder()
    {
        if (!SharedRegion.IsSupported) return;
        (SharedLine<long> here, SharedLine<long> there) = Pair();
        using (here)
        using (there)
        {
            for (long i = 0; i < 10; i++) Assert.True(here.TryWrite(i));
            Assert.True(there.TryWrite(-1));
            for (long i = 0; i < 10; i++)
            {
                Assert.True(there.Read(out long message));
                Assert.Equal(i, message);
            }

            Assert.True(here.Read(out long answer));
            Assert.Equal(-1, answer);
        }
    }

    // Fewer may come than were thought to be needed: they are not held back for ever.
    [Fact]
    public async Task Read_ThatWantsMoreThanComes_GetsWhatComes()
    {
        if (!SharedRegion.IsSupported) return;
        (SharedLine<long> here, SharedLine<long> there) = Pair();
        using (here)
        using (there)
        {
            var asked = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
            Task<bool> reading = Task.Factory.StartNew(() => there.Read(out long first, Wanted) && first == 1 && there.Read(out long second, Wanted) && second == 2, TaskCreationOptions.LongRunning);
            await asked.Task.WaitAsync(Patience);
            Assert.True(here.TryWrite(1));
            Assert.True(here.TryWrite(2));
            Assert.True(await reading.WaitAsync(Patience));

            int Wanted()
            {
                asked.TrySetResult();
                return 5;
            }
        }
    }

    // Many times round the ring, with a reader that sleeps whenever it is faster.
    [Fact]
    public async Task Read_WhileTheOtherSideWrites_MissesNothing()
    {
        if (!SharedRegion.IsSupported) return;
        (SharedLine<long> here, SharedLine<long> there) = Pair();
        using (here)
        using (there)
        {
            const int Count = 200_000;
            Task<long> reading = Task.Factory.StartNew(() =>
            {
                for (long i = 0; i < Count; i++)
                {
                    if (!there.Read(out long message) || message != i) return i;
                }

                return Count;
            }, TaskCreationOptions.LongRunning);
            for (long i = 0; i < Count;)
            {
                if (here.TryWrite(i)) i++;
                else Thread.Yield();
            }

            Assert.Equal(Count, await reading.WaitAsync(Patience));
        }
    }

    [Fact]
    public void TryWrite_NobodyReads_SaysWhenThereIsNoRoom()
    {
        if (!SharedRegion.IsSupported) return;
        (SharedLine<long> here, SharedLine<long> there) = Pair();
        using (here)
        using (there)
        {
            int written = 0;
            while (here.TryWrite(written) && written < 1 << 20) written++;
            Assert.InRange(written, 1, (1 << 20) - 1);
            Assert.True(there.Read(out long first));
            Assert.Equal(0, first);
            Assert.True(here.TryWrite(written));
        }
    }

    [Fact]
    public async Task Close_WhileSomebodyReads_EndsTheReading()
    {
        if (!SharedRegion.IsSupported) return;
        (SharedLine<long> here, SharedLine<long> there) = Pair();
        using (here)
        {
            Task<bool> reading = Task.Factory.StartNew(() => there.Read(out _), TaskCreationOptions.LongRunning);
            there.Close();
            Assert.False(await reading.WaitAsync(Patience));
            Assert.False(there.TryWrite(1));
            there.Dispose();
            there.Dispose();
        }
    }

    [Fact]
    public unsafe void Read_CounterThatCantBe_IsAnError()
    {
        if (!SharedRegion.IsSupported) return;
        SharedLine<long> here = SharedLine<long>.Create()!;
        SharedRegion theirs = SharedRegion.Create(SharedLine<long>.Length)!;
        using (here)
        {
            here.Attach(theirs);
            Unsafe.Write((void*)theirs.Address, uint.MaxValue / 2);
            Assert.Equal(ExitCode.ClusterLost, Assert.Throws<DistTrainException>(() => here.Read(out _)).ExitCode);
        }
    }

    [Fact]
    public void Attach_RegionOfAnotherSize_IsRefused()
    {
        if (!SharedRegion.IsSupported) return;
        using SharedLine<long> here = SharedLine<long>.Create()!;
        using SharedRegion other = SharedRegion.Create(100)!;
        Assert.Throws<ArgumentException>(() => here.Attach(other));
    }

    private static (SharedLine<long> Here, SharedLine<long> There) Pair()
    {
        SharedLine<long> here = SharedLine<long>.Create()!, there = SharedLine<long>.Create()!;
        here.Attach(SharedRegion.Open(there.Own.Name)!);
        there.Attach(SharedRegion.Open(here.Own.Name)!);
        return (here, there);
    }
}
