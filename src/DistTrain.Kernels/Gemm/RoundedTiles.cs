using System.Runtime.CompilerServices;

namespace DistTrain.Kernels;

/// <summary>
/// Tiles of weight gradients whose leaves are rounded to a 16-bit format, and so is every sum of two nodes. The register tile
/// leaves a leaf's sums on the stack in the L1 cache; rounding them and joining what is pending is one pass over them there, and
/// the last one packs the result.
/// </summary>
internal static unsafe class RoundedTiles<T, TNode>
    where T : struct, ILanes<T>
    where TNode : struct, IFormat
{
    // Floats from row to row of a tile on the stack.
    private const int SlotStride = 32;

    /// <summary>Runs a packed block of rows by columns, a strip of dY at a time.</summary>
    /// <param name="block">Panels, leaves and stack.</param>
    /// <param name="rows">Rows of dW.</param>
    /// <param name="columns">Columns of dW.</param>
    /// <param name="depth">Rows of all leaves.</param>
    /// <param name="to">The block's first element.</param>
    /// <param name="stride">Values from one row of dW to the next.</param>
    public static void Run(in TileArguments block, nint rows, nint columns, nint depth, void* to, nint stride)
    {
        TileArguments t = block;
        int width = TileDispatch.Width<T>();
        int height;
        for (nint i = 0; i < rows; i += height)
        {
            height = TileDispatch.Height<T>(rows - i);
            for (nint j = 0; j < columns; j += width)
            {
                t.A = block.A + (i * depth);
                t.B = block.B + (j * depth);
                t.Columns = (int)Math.Min(width, columns - j);
                Tile(t, height, (byte*)to + (((i * stride) + j) * TNode.Size), stride);
            }
        }
    }

    private static void Tile(TileArguments t, int height, void* to, nint stride)
    {
        delegate*<ref TileArguments, void> tile = TileDispatch.Select<T>(height, t.Columns, TileWalk.Packed);
        int strip = TileDispatch.StripWidth<T>(t.Columns), last = t.Leaves - 1, pending = 0;
        t.Leaves = 1;
        t.ToStride = SlotStride;
        for (int leaf = 0; ; leaf++)
        {
            nint depth = *t.Depths;
            t.To = t.Stack + (pending * TileArguments.TileSize);
            tile(ref t);
            int joins = LeafTree.Joins(leaf, leaf == last, pending);
            if (leaf == last)
            {
                Pack(t.To, joins, height, t.Columns, to, stride);
                return;
            }

            Join(t.To, joins, height, t.Columns);
            pending += 1 - joins;
            t.A += depth * height;
            t.B += depth * strip;
            t.Depths++;
        }
    }

    // The node goes where the first of those that it joins was.
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Join(float* slot, int joins, int height, int columns)
    {
        nint down = joins * TileArguments.TileSize;
        for (int r = 0; r < height; r++, slot += SlotStride)
        {
            for (int c = 0; c < columns; c += 16) T.Store(slot + c - down, TNode.Round(Sum(slot + c, joins)));
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Pack(float* slot, int joins, int height, int columns, void* to, nint stride)
    {
        nint at = 0;
        for (int r = 0; r < height; r++, slot += SlotStride, at += stride)
        {
            int c = 0;
            for (; c <= columns - 16; c += 16) TNode.Store(to, at + c, Sum(slot + c, joins));
            if (c < columns) TNode.StorePartial(to, at + c, Sum(slot + c, joins), columns - c);
        }
    }

    /// <summary>What a leaf and pending nodes come to, before the last rounding.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static T Sum(float* slot, int joins)
    {
        T sum = T.Load(slot);
        for (; joins > 0; joins--)
        {
            slot -= TileArguments.TileSize;
            sum = T.Load(slot) + TNode.Round(sum);
        }

        return sum;
    }
}
