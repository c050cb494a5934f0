using System.Runtime.CompilerServices;

namespace DistTrain.Kernels;

/// <summary>A block of C whose operands are where they should be for one range of k: packed, or read in place.</summary>
internal unsafe struct GemmBlock
{
    /// <summary>op(A)(i, k) is at A[i·RowA + k·StepA]; packed strips have StepA 0 and lie at i·Depth.</summary>
    public float* A;

    /// <inheritdoc cref="A"/>
    public nint RowA;

    /// <inheritdoc cref="A"/>
    public nint StepA;

    /// <summary>op(B)(k, j) is at B[k·StepB + j]; packed strips have StepB 0 and lie at j·Depth.</summary>
    public float* B;

    /// <inheritdoc cref="B"/>
    public nint StepB;

    /// <summary>Whether B is read in place, once, from beyond the nearer caches.</summary>
    public bool Streams;

    public nint Rows;
    public nint Columns;
    public nint Depth;

    /// <summary>Whether this is the first range of k, and whether it is the last.</summary>
    public bool First;

    /// <inheritdoc cref="First"/>
    public bool Last;

    public float* C;
    public nint StrideC;

    /// <summary>Where sums wait from one range of k to the next: C itself, or apart where the old C is still needed.</summary>
    public float* Sums;

    /// <inheritdoc cref="Sums"/>
    public nint StrideSums;

    public TileFinish Finish;

    /// <summary>Room for one tile; null where sums have a place of their own.</summary>
    public float* Scratch;

    /// <summary>Runs all tiles, down the rows within each strip of B.</summary>
    [SkipLocalsInit]
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public readonly void Run<T>()
        where T : struct, ILanes<T>
    {
        int width = TileDispatch.Width<T>();
        bool packedA = StepA == 0;
        bool packedB = StepB == 0;
        TileWalk walk = packedA && packedB ? TileWalk.Packed : RowA != 1 ? TileWalk.StridedRows : Streams ? TileWalk.Stream : TileWalk.UnitRows;
        bool finish = Last && Finish.Needed;
        bool apart = Scratch != null;
        Unsafe.SkipInit(out TileArguments t);
        nint depth = Depth;
        t.Depths = &depth;
        t.Leaves = 1;
        t.Stack = null;
        t.RowStrideA = RowA;
        t.StepA = StepA;
        t.FromStride = StrideSums;
        t.ToStride = apart ? width : StrideSums;
        for (nint j = 0; j < Columns; j += width)
        {
            int columns = (int)Math.Min(width, Columns - j);
            float* sums = Sums + j;
            t.Columns = columns;
            t.B = B + (packedB ? j * Depth : j);
            t.StepB = packedB ? TileDispatch.StripWidth<T>(columns) : StepB;
            t.A = A;
            int height = 0;
            delegate*<ref TileArguments, void> kernel = null;
            for (nint row = 0; row < Rows; row += height)
            {
                int next = TileDispatch.Height<T>(Rows - row);
                if (next != height)
                {
                    height = next;
                    kernel = TileDispatch.Select<T>(height, columns, walk);
                    if (packedA) t.StepA = height;
                }
                t.From = First ? null : sums;
                t.To = apart ? Scratch : sums;
                kernel(ref t);
                if (finish) Finish.Run<T>(t.To, t.ToStride, C + (row * StrideC) + j, StrideC, height, columns, row, j);
                t.A += height * (packedA ? Depth : RowA);
                sums += height * StrideSums;
            }
        }
    }
}
