using System.Runtime.InteropServices;

namespace DistTrain.Kernels;

/// <summary>How threads that compute for long stand beside threads that act for a moment.</summary>
public static partial class ComputeThread
{
    private const int Batch = 3;

    /// <summary>
    /// Marks the calling thread as one that computes: when it wakes, it takes a free core, but doesn't push another thread off one
    /// (SCHED_BATCH; sched(7)). A server that wakes several workers wakes all of them before any has taken its core. Threads that it starts inherit that.
    /// Elsewhere than on Linux, and where it is forbidden, nothing happens and this is false.
    /// </summary>
    public static bool TryYieldWhenWoken()
    {
        if (!OperatingSystem.IsLinux()) return false;
        int priority = 0;
        return SetScheduler(0, Batch, ref priority) == 0;
    }

    [LibraryImport("libc", EntryPoint = "sched_setscheduler")]
    private static partial int SetScheduler(int thread, int policy, ref int priority);
}
