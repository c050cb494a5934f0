namespace DistTrain.Kernels;

/// <summary>A kernel over items [begin, end) that are independent of each other, written once for every vector width.</summary>
internal interface IRangeKernel
{
    void Run<T>(nint begin, nint end)
        where T : struct, ILanes<T>;
}

/// <summary>Runs a range kernel at the current SIMD level, split over a pool's threads when it is worth it.</summary>
internal static class RangeRunner
{
    /// <param name="kernel">The kernel; its results must not depend on where ranges are cut.</param>
    /// <param name="count">How many items there are.</param>
    /// <param name="granule">Cuts fall on multiples of this.</param>
    /// <param name="grain">Fewer items than this are not worth a thread.</param>
    /// <param name="pool">Null for the caller alone.</param>
    public static void Run<TKernel>(TKernel kernel, nint count, nint granule, nint grain, KernelPool? pool)
        where TKernel : unmanaged, IRangeKernel
    {
        SimdLevel level = SimdPath.Current;
        int parts = pool is null ? 1 : (int)Math.Min(pool.Threads, count / Math.Max(grain, 1));
        if (parts <= 1)
        {
            Dispatch(kernel, level, 0, count);
            return;
        }
        pool!.Run(parts, new Body<TKernel> { Kernel = kernel, Level = level, Count = count, Granule = granule, Parts = parts });
    }

    /// <summary>Where part <paramref name="part"/> of <paramref name="parts"/> begins, on a multiple of the granule.</summary>
    public static nint Cut(nint count, nint granule, int parts, int part)
    {
        nint granules = (count + granule - 1) / granule;
        return Math.Min(count, granules * part / parts * granule);
    }

    private static void Dispatch<TKernel>(TKernel kernel, SimdLevel level, nint begin, nint end)
        where TKernel : unmanaged, IRangeKernel
    {
        switch (level)
        {
            case SimdLevel.Vector512: kernel.Run<Lanes512>(begin, end); break;
            case SimdLevel.Vector256: kernel.Run<Lanes256>(begin, end); break;
            case SimdLevel.Vector128: kernel.Run<Lanes128>(begin, end); break;
            default: kernel.Run<LanesScalar>(begin, end); break;
        }
    }

    private struct Body<TKernel> : IParallelBody
        where TKernel : unmanaged, IRangeKernel
    {
        public TKernel Kernel;
        public SimdLevel Level;
        public nint Count;
        public nint Granule;
        public int Parts;

        public readonly void Run(int part) =>
            Dispatch(Kernel, Level, Cut(Count, Granule, Parts, part), Cut(Count, Granule, Parts, part + 1));
    }
}
