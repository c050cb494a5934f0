using System.Collections.Immutable;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;
using DistTrain.Core;

namespace DistTrain.Data;

/// <summary>Images of unsigned bytes as they lie in a file: each of its records holds one somewhere.</summary>
/// <param name="Bytes">The records, one after the other.</param>
/// <param name="Offset">Where a record's image begins.</param>
/// <param name="Stride">Bytes of a record.</param>
internal readonly record struct ImageRecords(ByteStore Bytes, int Offset, int Stride)
{
    /// <summary>How many there are.</summary>
    public long Count => Bytes.Length / Stride;
}

/// <summary>Images of unsigned bytes with a label each, kept as bytes and made floats when gathered:
/// x = byte · factor + offset, each rounded once to float.</summary>
internal sealed class ImageDataset : IDataset
{
    private readonly ImageRecords[] _files;
    private readonly byte[] _labels;
    private readonly float _factor;
    private readonly float _offset;

    private ImageDataset(ImageDataset source, float factor, float offset)
        : this(source._files, source._labels, source.InputShape, source.Target.Width, source.ContentHash, factor, offset)
    {
    }

    /// <summary>Images of one shape, in files one after the other, with all their labels.</summary>
    public ImageDataset(ImageRecords[] files, byte[] labels, ImmutableArray<int> shape, int classes, string hash, float factor, float offset = 0)
    {
        _files = files;
        _labels = labels;
        _factor = factor;
        _offset = offset;
        InputShape = shape;
        FeatureCount = GatherChecks.FeatureCount(shape);
        Target = TargetSpec.Classes(classes);
        ContentHash = hash;
    }

    public long Count => _labels.Length;

    public ImmutableArray<int> InputShape { get; }

    public int FeatureCount { get; }

    public TargetSpec Target { get; }

    public string ContentHash { get; }

    public float Black => _offset;

    /// <summary>Joins a file of images, (count, height, width), (count, channels, height, width) or (count, features),
    /// and one of labels. Without a number of classes, it is the highest label plus one.</summary>
    public static ImageDataset Join(IdxFile images, IdxFile labels, int? classes, float factor)
    {
        int count = images.Dimensions[0];
        if (labels.Dimensions[0] != count)
        {
            throw new DistTrainException(ExitCode.BadData, $"{labels.Path}: offset 4: {labels.Dimensions[0]} labels; {images.Path} has {count} images");
        }

        byte[] classOf = labels.Elements.Slice(0, count).ToArray();
        int width = classes ?? MaxOf(classOf) + 1;
        int wrong = classOf.AsSpan().IndexOfAnyExceptInRange((byte)0, (byte)Math.Min(width - 1, byte.MaxValue));
        if (wrong >= 0)
        {
            throw new DistTrainException(ExitCode.BadData, $"{labels.Path}: offset {8 + wrong}: label {classOf[wrong]} of example {wrong}; with {width} classes, labels go from 0 to {width - 1}");
        }

        int[] shape = images.Dimensions[1..];
        if (shape.Length == 2) shape = [1, .. shape];
        using var hasher = new ContentHasher("idx " + string.Join('x', images.Dimensions));
        images.Elements.AppendTo(hasher);
        labels.Elements.AppendTo(hasher);
        ImmutableArray<int> inputShape = [.. shape];
        return new ImageDataset([new ImageRecords(images.Elements, 0, GatherChecks.FeatureCount(inputShape))], classOf, inputShape, width, hasher.Finish(), factor);
    }

    /// <summary>The same images, shifted and scaled to mean 0 and standard deviation 1 over all pixels of the training
    /// part of <paramref name="train"/>. Taken from exact counts of the 256 byte values, so in no order at all.</summary>
    public ImageDataset Standardized(ImageDataset train, TrainTestSplit? split)
    {
        Span<long> counts = stackalloc long[256];
        counts.Clear();
        for (int i = 0; i < train._labels.Length; i++)
        {
            if (split?.IsTest(i) == true) continue;
            foreach (byte b in train.Pixels(i)) counts[b]++;
        }

        long n = 0;
        long sum = 0;
        for (int v = 0; v < 256; v++)
        {
            n += counts[v];
            sum += v * counts[v];
        }

        double mean = (double)sum / n;
        double squares = 0;
        for (int v = 0; v < 256; v++) squares += counts[v] * ((v - mean) * (v - mean));
        double deviation = Math.Sqrt(squares / n);
        if (!(deviation > 0)) deviation = 1;
        return new ImageDataset(this, (float)(1 / deviation), (float)(-mean / deviation));
    }

    public void GatherInputs(ReadOnlySpan<long> examples, Span<float> inputs)
    {
        GatherChecks.Destination(examples.Length, FeatureCount, inputs.Length);
        for (int i = 0; i < examples.Length; i++)
        {
            int row = GatherChecks.Index(examples[i], _labels.Length);
            Convert(Pixels(row), inputs.Slice(i * FeatureCount, FeatureCount));
        }

        GC.KeepAlive(this);
    }

    public void GatherLabels(ReadOnlySpan<long> examples, Span<int> labels)
    {
        GatherChecks.Destination(examples.Length, 1, labels.Length);
        for (int i = 0; i < examples.Length; i++) labels[i] = _labels[GatherChecks.Index(examples[i], _labels.Length)];
    }

    public void GatherTargets(ReadOnlySpan<long> examples, Span<float> targets) => GatherChecks.Kind(Target, TargetKind.RealValues);

    private ReadOnlySpan<byte> Pixels(long row)
    {
        int file = 0;
        while (row >= _files[file].Count) row -= _files[file++].Count;
        ImageRecords records = _files[file];
        return records.Bytes.Slice((row * records.Stride) + records.Offset, FeatureCount);
    }

    // A product and a sum, not fused, so that vectors and the scalar tail have the same bits.
    private void Convert(ReadOnlySpan<byte> source, Span<float> destination)
    {
        ref byte from = ref MemoryMarshal.GetReference(source);
        ref float to = ref MemoryMarshal.GetReference(destination);
        int i = 0;
        if (Vector128.IsHardwareAccelerated)
        {
            Vector128<float> factor = Vector128.Create(_factor);
            Vector128<float> offset = Vector128.Create(_offset);
            for (; i <= source.Length - 16; i += 16)
            {
                (Vector128<ushort> low, Vector128<ushort> high) = Vector128.Widen(Vector128.LoadUnsafe(ref from, (nuint)i));
                (Vector128<uint> a, Vector128<uint> b) = Vector128.Widen(low);
                (Vector128<uint> c, Vector128<uint> d) = Vector128.Widen(high);
                Affine(a, factor, offset).StoreUnsafe(ref to, (nuint)i);
                Affine(b, factor, offset).StoreUnsafe(ref to, (nuint)i + 4);
                Affine(c, factor, offset).StoreUnsafe(ref to, (nuint)i + 8);
                Affine(d, factor, offset).StoreUnsafe(ref to, (nuint)i + 12);
            }
        }

        for (; i < source.Length; i++) Unsafe.Add(ref to, i) = (float)((float)(Unsafe.Add(ref from, i) * _factor) + _offset);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector128<float> Affine(Vector128<uint> bytes, Vector128<float> factor, Vector128<float> offset) =>
        Vector128.ConvertToSingle(bytes.AsInt32()) * factor + offset;

    private static int MaxOf(ReadOnlySpan<byte> labels)
    {
        int max = 0;
        foreach (byte label in labels) max = Math.Max(max, label);
        return max;
    }
}
