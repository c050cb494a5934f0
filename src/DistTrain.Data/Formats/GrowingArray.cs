using System.Runtime.CompilerServices;
using DistTrain.Core;

namespace DistTrain.Data;

/// <summary>An array that grows while a file is read, and refuses by the file's name what doesn't fit in memory.</summary>
internal sealed class GrowingArray<T>(DataFile file)
    where T : unmanaged
{
    private T[] _items = [];

    public int Count { get; private set; }

    public ReadOnlySpan<T> Span => _items.AsSpan(0, Count);

    public void Add(T item)
    {
        if (Count == _items.Length) Grow();
        _items[Count++] = item;
    }

    private void Grow()
    {
        long next = Math.Min(Math.Max(1024, 2L * _items.Length), Array.MaxLength);
        if (next == _items.Length) throw file.Bad($"has more than {Array.MaxLength} values, the most that fits in one table");
        MemoryGuard.Check(file.Path, next * Unsafe.SizeOf<T>());
        Array.Resize(ref _items, (int)next);
    }
}

/// <summary>Refuses data that can't fit before memory for it is taken.</summary>
internal static class MemoryGuard
{
    /// <exception cref="DistTrainException"><paramref name="bytes"/> more are not to be had on this machine.</exception>
    public static void Check(string path, long bytes)
    {
        long available = GC.GetGCMemoryInfo().TotalAvailableMemoryBytes;
        if (available > 0 && bytes > available)
        {
            throw new DistTrainException(ExitCode.BadData, $"{path}: needs {bytes} bytes of memory in one piece; this process may have {available}");
        }
    }
}
