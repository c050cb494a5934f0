using System.Collections.Immutable;
using System.Runtime.InteropServices;
using DistTrain.Core;

namespace DistTrain.Training.Checkpoints;

/// <summary>
/// Writes a safetensors file of fp32 tensors whose numbers arrive in any order: first the layout, then ranges of
/// tensors, straight from the caller's memory, then <see cref="Finish"/>. Tensors lie in the order given, with no gaps.
/// Writes may run at once. Without Finish the file is not complete and has gaps of zeros.
/// </summary>
/// <example>
/// <code>
/// using var writer = new SafetensorsWriter(path, [new("0.weight", [10, 64]), new("0.bias", [10])]);
/// writer.Write(0, first: 0, weights);
/// writer.Write(1, first: 0, biases);
/// FileDigest digest = writer.Finish();
/// </code>
/// </example>
public sealed class SafetensorsWriter : IDisposable
{
    private readonly IWritableFile _file;
    private readonly long[] _starts;
    private readonly long _dataStart;
    private readonly WrittenRanges _written = new();
    private readonly Lock _lock = new();

    /// <summary>Creates the file, which must not exist, and writes its header.</summary>
    /// <param name="path">The file.</param>
    /// <param name="tensors">All tensors, in the order of their data.</param>
    /// <param name="metadata">Strings for <c>__metadata__</c>; other readers look for <c>format</c>.</param>
    public SafetensorsWriter(string path, IReadOnlyList<TensorSpec> tensors, IReadOnlyDictionary<string, string>? metadata = null)
        : this(DiskFiles.Instance, path, tensors, metadata)
    {
    }

    internal SafetensorsWriter(ICheckpointFiles files, string path, IReadOnlyList<TensorSpec> tensors, IReadOnlyDictionary<string, string>? metadata)
    {
        Path = path;
        Tensors = [.. tensors];
        _starts = new long[tensors.Count + 1];
        var names = new HashSet<string>(StringComparer.Ordinal) { "__metadata__" };
        for (int i = 0; i < tensors.Count; i++)
        {
            if (!names.Add(tensors[i].Name)) throw new ArgumentException($"a tensor can't be called '{tensors[i].Name}', or not two of them", nameof(tensors));
            _starts[i + 1] = checked(_starts[i] + tensors[i].Length);
        }

        byte[] header = SafetensorsHeader.Write(tensors, metadata ?? ImmutableDictionary<string, string>.Empty);
        _dataStart = header.Length;
        FileLength = checked(_dataStart + _starts[^1] * sizeof(float));
        _file = files.Create(path);
        try
        {
            _file.Write(0, header);
        }
        catch
        {
            _file.Dispose();
            throw;
        }
    }

    /// <summary>The file.</summary>
    public string Path { get; }

    /// <summary>The tensors, in the order of their data.</summary>
    public ImmutableArray<TensorSpec> Tensors { get; }

    /// <summary>Bytes that the finished file has.</summary>
    public long FileLength { get; }

    /// <summary>Writes elements [<paramref name="first"/>, first + values.Length) of tensor number
    /// <paramref name="tensor"/>. Writing a range again replaces it.</summary>
    public void Write(int tensor, long first, ReadOnlySpan<float> values)
    {
        TensorSpec spec = Tensors[tensor];
        if (first < 0 || values.Length > spec.Length - first) throw new ArgumentOutOfRangeException(nameof(first), first, $"[{first}, {first + values.Length}) is not within the {spec.Length} elements of '{spec.Name}'");
        if (values.IsEmpty) return;
        long start = _starts[tensor] + first;
        _file.Write(_dataStart + start * sizeof(float), MemoryMarshal.AsBytes(values));
        lock (_lock) _written.Add(start, start + values.Length);
    }

    /// <summary>Flushes the file to the disk and closes it.</summary>
    /// <returns>Its size and SHA-256, as read back.</returns>
    /// <exception cref="DistTrainException">Internal: some elements were never written; it names the first.</exception>
    public FileDigest Finish()
    {
        (long Start, long End)? missing;
        lock (_lock) missing = _written.FirstMissing(_starts[^1]);
        if (missing is { } gap)
        {
            int tensor = TensorAt(gap.Start);
            throw new DistTrainException(ExitCode.Internal, $"{Path}: elements from {gap.Start - _starts[tensor]} of tensor '{Tensors[tensor].Name}' were never written");
        }

        _file.Flush();
        FileDigest digest = _file.Digest();
        if (digest.Bytes != FileLength) throw new DistTrainException(ExitCode.BadData, $"{Path}: {FileLength} bytes were written, {digest.Bytes} came back");
        _file.Dispose();
        return digest;
    }

    /// <inheritdoc/>
    public void Dispose() => _file.Dispose();

    private int TensorAt(long element)
    {
        int i = 0;
        while (_starts[i + 1] <= element) i++;
        return i;
    }
}
