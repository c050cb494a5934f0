using System.Runtime.InteropServices;

namespace DistTrain.Bench;

/// <summary>Keeps the calling thread on one core while it measures (Linux; elsewhere nothing happens).</summary>
internal static unsafe partial class CpuAffinity
{
    private const int MaskWords = 16;

    private static readonly ulong[] Original = Read();

    /// <summary>Pins the calling thread, and threads and processes that it starts from now on; negative releases it.</summary>
    public static void Pin(int core)
    {
        if (core < 0 || core >= MaskWords * 64)
        {
            Release();
            return;
        }
        ulong* mask = stackalloc ulong[MaskWords];
        new Span<ulong>(mask, MaskWords).Clear();
        mask[core / 64] = 1UL << (core % 64);
        Set(mask);
    }

    /// <summary>Gives the thread all the cores that the process was started with.</summary>
    public static void Release()
    {
        fixed (ulong* mask = Original) Set(mask);
    }

    private static ulong[] Read()
    {
        ulong[] mask = new ulong[MaskWords];
        if (OperatingSystem.IsLinux())
        {
            fixed (ulong* m = mask) _ = GetAffinity(0, MaskWords * sizeof(ulong), m);
        }
        return mask;
    }

    private static void Set(ulong* mask)
    {
        if (OperatingSystem.IsLinux()) _ = SetAffinity(0, MaskWords * sizeof(ulong), mask);
    }

    [LibraryImport("libc", EntryPoint = "sched_setaffinity")]
    private static partial int SetAffinity(int pid, nuint size, ulong* mask);

    [LibraryImport("libc", EntryPoint = "sched_getaffinity")]
    private static partial int GetAffinity(int pid, nuint size, ulong* mask);
}
