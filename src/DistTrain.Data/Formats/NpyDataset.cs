using System.Collections.Immutable;
using System.Runtime.InteropServices;
using DistTrain.Core;

namespace DistTrain.Data;

/// <summary>
/// Examples from two arrays: features, kept as they are and made floats when gathered (x = element · factor, rounded once, or standardised),
/// and labels or targets. Whole numbers are class labels, one an example or one at each position; others are real targets.
/// </summary>
internal sealed class NpyDataset : IDataset
{
    // Elements that are read at once, on the stack.
    private const int Piece = 256;

    private readonly NpyFile _inputs;
    private readonly int[] _labels = [];
    private readonly float[] _targets = [];
    private readonly double _factor;
    private readonly int _count;
    private readonly NpyStandardizer? _standardizer;

    /// <summary>Joins two arrays.</summary>
    /// <param name="inputs">(count, …): examples.</param>
    /// <param name="targets">(count) or (count, n).</param>
    /// <param name="classes">How many classes; null for the highest label plus one.</param>
    /// <param name="scale">What features are multiplied by; null for 1/255 for bytes, else 1.</param>
    public NpyDataset(NpyFile inputs, NpyFile targets, int? classes, double? scale)
    {
        if (targets.Shape[0] != inputs.Shape[0]) throw Bad(targets, $"{targets.Shape[0]} rows; {inputs.Path} has {inputs.Shape[0]}");
        if (targets.Shape.Length > 2) throw Bad(targets, $"{targets.Shape.Length} dimensions; labels and targets have one or two");
        (_inputs, _count) = (inputs, (int)inputs.Shape[0]);
        InputShape = ShapeOf(inputs);
        FeatureCount = GatherChecks.FeatureCount(InputShape);
        _factor = scale ?? (inputs.Type == NpyType.UInt8 ? 1.0 / 255 : 1);
        long values = _count * targets.RowLength;
        if (values > Array.MaxLength) throw Bad(targets, $"{values} values; at most {Array.MaxLength} are read");
        MemoryGuard.Check(targets.Path, values * sizeof(int));
        if (targets.IsReal)
        {
            if (classes != null) throw new DistTrainException(ExitCode.BadUsage, $"data.classes has no meaning: {targets.Path} holds real targets");
            _targets = new float[values];
            Convert(targets, 0, _targets, 1);
            Target = TargetSpec.Real((int)targets.RowLength);
        }
        else
        {
            _labels = new int[values];
            Target = TargetSpec.Classes(ReadLabels(targets, classes), (int)targets.RowLength);
        }

        using var hasher = new ContentHasher($"numpy {inputs.Type} {string.Join('x', inputs.Shape)} {targets.Type} {string.Join('x', targets.Shape)}");
        inputs.Elements.AppendTo(hasher);
        targets.Elements.AppendTo(hasher);
        ContentHash = hasher.Finish();
    }

    private NpyDataset(NpyDataset source, NpyStandardizer standardizer)
    {
        (_inputs, _labels, _targets, _factor, _count) = (source._inputs, source._labels, source._targets, source._factor, source._count);
        (InputShape, FeatureCount, Target, ContentHash) = (source.InputShape, source.FeatureCount, source.Target, source.ContentHash);
        _standardizer = standardizer;
    }

    public long Count => _count;

    public ImmutableArray<int> InputShape { get; }

    public int FeatureCount { get; }

    public TargetSpec Target { get; }

    public string ContentHash { get; }

    public float Black => _standardizer?.Black ?? 0;

    /// <summary>The same examples with mean 0 and standard deviation 1 over the training part of <paramref name="train"/>.</summary>
    public NpyDataset Standardized(NpyDataset train, TrainTestSplit? split) => new(this, NpyStandardizer.Fit(train._inputs, InputShape.Length == 3, split));

    public void GatherInputs(ReadOnlySpan<long> examples, Span<float> inputs)
    {
        GatherChecks.Destination(examples.Length, FeatureCount, inputs.Length);
        for (int i = 0; i < examples.Length; i++)
        {
            int row = GatherChecks.Index(examples[i], _count);
            Span<float> to = inputs.Slice(i * FeatureCount, FeatureCount);
            if (_standardizer == null) Convert(_inputs, (long)row * FeatureCount, to, _factor);
            else _standardizer.Read(_inputs, row, to);
        }

        GC.KeepAlive(this);
    }

    public void GatherLabels(ReadOnlySpan<long> examples, Span<int> labels)
    {
        GatherChecks.Kind(Target, TargetKind.ClassLabel);
        int length = Target.Length;
        GatherChecks.Destination(examples.Length, length, labels.Length);
        for (int i = 0; i < examples.Length; i++) _labels.AsSpan(GatherChecks.Index(examples[i], _count) * length, length).CopyTo(labels[(i * length)..]);
    }

    public void GatherTargets(ReadOnlySpan<long> examples, Span<float> targets)
    {
        GatherChecks.Kind(Target, TargetKind.RealValues);
        int width = Target.Width;
        GatherChecks.Destination(examples.Length, width, targets.Length);
        for (int i = 0; i < examples.Length; i++) _targets.AsSpan(GatherChecks.Index(examples[i], _count) * width, width).CopyTo(targets[(i * width)..]);
    }

    // Bytes of three dimensions are images without colour, as in IDX files; a single column is one feature.
    private static ImmutableArray<int> ShapeOf(NpyFile inputs)
    {
        ImmutableArray<int> shape = [.. inputs.Shape.Skip(1).Select(d => (int)d)];
        return shape.Length == 0 ? [1] : shape.Length == 2 && inputs.Type == NpyType.UInt8 ? [1, .. shape] : shape;
    }

    private static void Convert(NpyFile file, long first, Span<float> to, double factor)
    {
        if (file.Type == NpyType.Float32 && factor == 1)
        {
            MemoryMarshal.Cast<byte, float>(file.Elements.Slice(first * file.Size, to.Length * file.Size)).CopyTo(to);
            return;
        }

        Span<double> piece = stackalloc double[Piece];
        for (int at = 0; at < to.Length; at += Piece)
        {
            Span<double> x = piece[..Math.Min(Piece, to.Length - at)];
            file.Read(first + at, x);
            for (int i = 0; i < x.Length; i++) to[at + i] = (float)(x[i] * factor);
        }
    }

    private int ReadLabels(NpyFile file, int? classes)
    {
        long most = (classes ?? CsvClasses.Maximum) - 1;
        int highest = 0;
        int least = file.RowLength > 1 ? TargetSpec.Ignored : 0;
        for (int i = 0; i < _labels.Length; i++)
        {
            long label = LabelAt(file, i);
            if (label < least || label > most) throw Bad(file, $"row {i / file.RowLength}: label {label}; {(classes is null ? "" : "with data.classes ")}labels go from {least} to {most}");
            _labels[i] = (int)label;
            highest = Math.Max(highest, _labels[i]);
        }

        return classes ?? highest + 1;
    }

    private static long LabelAt(NpyFile file, int i)
    {
        ReadOnlySpan<byte> bytes = file.Elements.Slice((long)i * file.Size, file.Size);
        return file.Type switch
        {
            NpyType.Int8 => (sbyte)bytes[0],
            NpyType.Int16 => MemoryMarshal.Read<short>(bytes),
            NpyType.UInt16 => MemoryMarshal.Read<ushort>(bytes),
            NpyType.Int32 => MemoryMarshal.Read<int>(bytes),
            NpyType.UInt32 => MemoryMarshal.Read<uint>(bytes),
            NpyType.Int64 => MemoryMarshal.Read<long>(bytes),
            _ => bytes[0],
        };
    }

    private static DistTrainException Bad(NpyFile file, string message) => new(ExitCode.BadData, $"{file.Path}: {message}");
}
