using System.Diagnostics;
using DistTrain.Core;
using DistTrain.Kernels;

namespace DistTrain.Composition;

/// <summary>What the way through this machine's memory takes, measured in some milliseconds: waking another thread, and adding up gradients.</summary>
internal static class LocalPace
{
    private const int Turns = 31;
    private const int Length = 1 << 18;

    // A bucket's bytes go through memory some six times: both halves of its gradient, momentum there and back, weights old and new.
    private const double Passes = 6;

    /// <summary>The measurement.</summary>
    public static LinkSpeed Measure() => new(WakeSeconds(), BytesPerSecond());

    private static double WakeSeconds()
    {
        // Without spinning: threads that wait for messages sleep in the kernel.
        using var there = new ManualResetEventSlim(false, spinCount: 0);
        using var back = new ManualResetEventSlim(false, spinCount: 0);
        var other = new Thread(() =>
        {
            for (int i = 0; i < Turns; i++)
            {
                there.Wait();
                there.Reset();
                back.Set();
            }
        })
        { IsBackground = true };
        other.Start();
        var seconds = new double[Turns];
        for (int i = 0; i < Turns; i++)
        {
            long began = Stopwatch.GetTimestamp();
            there.Set();
            back.Wait();
            seconds[i] = Stopwatch.GetElapsedTime(began).TotalSeconds / 2;
            back.Reset();
        }

        other.Join();
        Array.Sort(seconds);
        return Math.Max(1e-6, seconds[Turns / 2]);
    }

    private static unsafe double BytesPerSecond()
    {
        using var a = new NativeBuffer(Length);
        using var b = new NativeBuffer(Length);
        double best = double.MaxValue;
        for (int i = 0; i < 5; i++)
        {
            long began = Stopwatch.GetTimestamp();
            Elementwise.Add(a.Pointer, b.Pointer, a.Pointer, Length, KernelPool.Single);
            best = Math.Min(best, Stopwatch.GetElapsedTime(began).TotalSeconds);
        }

        // An addition reads two and writes one.
        return 3.0 * Length * sizeof(float) / Passes / Math.Max(best, 1e-7);
    }
}
