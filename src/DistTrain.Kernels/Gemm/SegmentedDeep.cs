using System.Numerics;
using System.Runtime.CompilerServices;

namespace DistTrain.Kernels;

/// <summary>
/// Segmented weight gradients whose leaves are deep, as a recurrent layer's are: k goes block by block within a leaf,
/// partial sums waiting in the result of that leaf, so that the panels fit the caches whatever the depth. A leaf's result
/// lies on a stack in the L2 cache and joins its neighbours along the tree there; that costs a few additions beside the
/// leaf's hundreds.
/// </summary>
internal static unsafe class SegmentedDeep
{
    private const int BlockK = 520;
    private const int BlockM = 192;

    // Rows of dW at once, and floats of one result on the stack.
    private const int MostRows = 960;
    private const int SlotElements = 128 * 1024;

    private const int LeastDepth = 96;

    /// <summary>Whether this way is the better one: shallow leaves are joined in registers.</summary>
    public static bool Suits(in SegmentedProblem p) => p.Depth > MostDepth(in p) && p.Depth / p.Leaves >= LeastDepth;

    private static nint MostDepth(in SegmentedProblem p) => p.Cuts.K > 0 ? p.Cuts.K : BlockK;

    /// <summary>Runs rows [rowBegin, rowEnd) and columns [columnBegin, columnEnd) of dW.</summary>
    public static void Run<T>(in SegmentedProblem p, nint rowBegin, nint rowEnd, nint columnBegin, nint columnEnd)
        where T : struct, ILanes<T>
    {
        if (rowBegin == rowEnd || columnBegin == columnEnd) return;
        nint width = TileDispatch.Width<T>();
        nint mostRows = Math.Min(rowEnd - rowBegin, p.Cuts.M > 0 ? p.Cuts.M : MostRows);
        nint padded = (columnEnd - columnBegin + width - 1) / width * width;
        nint mostN = p.Cuts.N > 0 ? p.Cuts.N : SlotElements / mostRows;
        nint blockN = Math.Min(padded, Math.Max(mostN / width * width, width));
        nint deepest = 0;
        for (int leaf = 0; leaf < p.Leaves; leaf++) deepest = Math.Max(deepest, p.Depths[leaf]);
        nint blockK = Math.Min(deepest, MostDepth(in p));
        nint slot = mostRows * blockN;
        int slots = BitOperations.Log2((uint)p.Leaves) + 2;
        nint sizeA = ((BlockM * blockK) + Packing.Slack + 15) & ~15;
        float* stack = Workspace.Get((slots * slot) + sizeA + (blockN * blockK) + Packing.Slack);
        var room = new Room { PanelA = stack + (slots * slot), PanelB = stack + (slots * slot) + sizeA };
        for (nint i = rowBegin; i < rowEnd; i += mostRows)
        {
            nint rows = Math.Min(mostRows, rowEnd - i);
            for (nint j = columnBegin; j < columnEnd; j += blockN)
            {
                nint columns = Math.Min(blockN, columnEnd - j);
                float* target = p.DW + (i * p.StrideDW) + j;
                int pending = 0;
                for (int leaf = 0; leaf < p.Leaves; leaf++)
                {
                    float* top = stack + (pending * slot);
                    if (p.Leaves == 1) Leaf<T>(in p, leaf, i, rows, j, columns, in room, target, p.StrideDW);
                    else Leaf<T>(in p, leaf, i, rows, j, columns, in room, top, blockN);
                    int joins = LeafTree.Joins(leaf, leaf == p.Leaves - 1, pending);
                    for (; joins > 0; joins--, pending--, top -= slot)
                    {
                        bool whole = leaf == p.Leaves - 1 && joins == 1;
                        Join<T>(top - slot, top, blockN, rows, columns, whole ? target : top - slot, whole ? p.StrideDW : blockN);
                    }
                    pending++;
                }
            }
        }
    }

    /// <summary>c = the products of one leaf, k ascending over its ranges.</summary>
    [SkipLocalsInit]
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Leaf<T>(
        in SegmentedProblem p, int leaf, nint row, nint rows, nint column, nint columns, in Room room, float* c, nint strideC)
        where T : struct, ILanes<T>
    {
        nint depth = p.Depths[leaf];
        if (depth == 0)
        {
            for (nint r = 0; r < rows; r++) Rows.Clear(c + (r * strideC), columns);
            return;
        }
        nint mostDepth = MostDepth(in p);
        nint blocks = (depth + mostDepth - 1) / mostDepth;
        nint blockK = (depth + blocks - 1) / blocks;
        TileFinish nothing = default;
        nothing.Alpha = 1;
        for (nint k = 0; k < depth; k += blockK)
        {
            nint deep = Math.Min(blockK, depth - k);
            PackX<T>(in p, leaf, k, deep, column, columns, room.PanelB);
            for (nint i = 0; i < rows; i += BlockM)
            {
                nint block = Math.Min(BlockM, rows - i);
                PackDY<T>(in p, leaf, k, deep, row + i, block, room.PanelA);
                new GemmBlock
                {
                    A = room.PanelA,
                    RowA = 1,
                    B = room.PanelB,
                    Rows = block,
                    Columns = columns,
                    Depth = deep,
                    First = k == 0,
                    Last = k + deep == depth,
                    C = c + (i * strideC),
                    StrideC = strideC,
                    Sums = c + (i * strideC),
                    StrideSums = strideC,
                    Finish = nothing,
                }.Run<T>();
            }
        }
    }

    private static void PackX<T>(in SegmentedProblem p, int leaf, nint k, nint deep, nint column, nint columns, float* panel)
        where T : struct, ILanes<T>
    {
        int width = TileDispatch.Width<T>();
        for (nint j = 0; j < columns; j += width)
        {
            int real = (int)Math.Min(width, columns - j);
            int strip = TileDispatch.StripWidth<T>(real);
            var part = new Parts(in p, leaf, k, deep);
            while (part.Next(out nint start, out nint count))
            {
                Packing.CopyColumns<T>(p.X + (start * p.StrideX) + column + j, p.StrideX, count, real, strip, panel);
                panel += count * strip;
            }
        }
    }

    private static void PackDY<T>(in SegmentedProblem p, int leaf, nint k, nint deep, nint row, nint rows, float* panel)
        where T : struct, ILanes<T>
    {
        for (nint i = 0; i < rows;)
        {
            int height = TileDispatch.Height<T>(rows - i);
            var part = new Parts(in p, leaf, k, deep);
            while (part.Next(out nint start, out nint count))
            {
                Packing.CopyStrip<T>(p.DY + (start * p.StrideDY) + row + i, p.StrideDY, height, count, panel);
                panel += count * height;
            }
            i += height;
        }
    }

    /// <summary>to = left + right, row by row.</summary>
    private static void Join<T>(float* left, float* right, nint stride, nint rows, nint columns, float* to, nint strideTo)
        where T : struct, ILanes<T>
    {
        for (nint r = 0; r < rows; r++, left += stride, right += stride, to += strideTo)
        {
            nint j = 0;
            for (; j <= columns - 16; j += 16) T.Store(to + j, T.Load(left + j) + T.Load(right + j));
            int rest = (int)(columns - j);
            if (rest > 0) T.StorePartial(to + j, T.LoadPartial(left + j, rest) + T.LoadPartial(right + j, rest), rest);
        }
    }

    private struct Room
    {
        public float* PanelA;
        public float* PanelB;
    }

    /// <summary>The runs of rows that make up k's [begin, begin + count) of a leaf.</summary>
    private ref struct Parts
    {
        private KRange* _range;
        private nint _skip;
        private nint _left;

        public Parts(in SegmentedProblem p, int leaf, nint begin, nint count)
        {
            _range = p.Ranges + p.LeafStarts[leaf];
            _skip = begin;
            _left = count;
        }

        public bool Next(out nint start, out nint count)
        {
            start = count = 0;
            if (_left == 0) return false;
            for (; _skip >= _range->Count; _range++) _skip -= _range->Count;
            start = _range->Start + _skip;
            count = Math.Min(_left, _range->Count - _skip);
            _skip += count;
            _left -= count;
            return true;
        }
    }
}
