namespace DistTrain.Kernels;

/// <summary>What a cell does to one row of a step.</summary>
internal interface ICellRow
{
    /// <summary>Computes a row whose sequence has this step.</summary>
    void Valid<T>(nint row)
        where T : struct, ILanes<T>;

    /// <summary>Carries the state over a step that lies beyond the end of the row's sequence.</summary>
    void Padding<T>(nint row)
        where T : struct, ILanes<T>;
}

/// <summary>Runs a cell over the rows of one step; rows are independent of each other.</summary>
internal static unsafe class RecurrentRows
{
    private const int GrainElements = 4 * 1024;

    /// <param name="cell">What happens to a row.</param>
    /// <param name="rows">How many examples.</param>
    /// <param name="hidden">Values of a row's state.</param>
    /// <param name="lengths">(rows): the sequences' lengths; null when all go to the end.</param>
    /// <param name="time">The step, from 0.</param>
    /// <param name="pool">Null for the caller alone.</param>
    public static void Run<TCell>(TCell cell, nint rows, nint hidden, int* lengths, int time, KernelPool? pool)
        where TCell : unmanaged, ICellRow =>
        RangeRunner.Run(
            new Kernel<TCell> { Cell = cell, Lengths = lengths, Time = time }, rows, 1, 1 + (GrainElements / Math.Max(hidden, 1)), pool);

    private struct Kernel<TCell> : IRangeKernel
        where TCell : unmanaged, ICellRow
    {
        public TCell Cell;
        public int* Lengths;
        public int Time;

        public readonly void Run<T>(nint begin, nint end)
            where T : struct, ILanes<T>
        {
            for (nint row = begin; row < end; row++)
            {
                if (Lengths == null || Time < Lengths[row]) Cell.Valid<T>(row);
                else Cell.Padding<T>(row);
            }
        }
    }
}
