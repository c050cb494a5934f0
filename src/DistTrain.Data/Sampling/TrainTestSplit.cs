using System.Collections.Immutable;
using System.Globalization;
using DistTrain.Core;

namespace DistTrain.Data;

/// <summary>
/// A fixed split of a dataset into a training and a test part: a keyed permutation of (seed, "split") orders the
/// examples, the first ones are held out. Stateless: both parts are views that copy nothing.
/// </summary>
public sealed class TrainTestSplit
{
    /// <summary>The share held out where none is given.</summary>
    public const double DefaultTestFraction = 0.2;

    private readonly KeyedPermutation _order;
    private readonly ulong _seed;

    /// <summary>Splits <paramref name="count"/> examples; the test part has count · fraction of them, rounded to the
    /// nearest, at least one unless the fraction is 0, and leaves at least one for training.</summary>
    /// <exception cref="DistTrainException">A fraction outside [0, 1), or too few examples to split.</exception>
    public TrainTestSplit(long count, ulong seed, double testFraction = DefaultTestFraction)
    {
        if (!(testFraction is >= 0 and < 1)) throw new DistTrainException(ExitCode.BadUsage, $"data.test_fraction is {testFraction.ToString(CultureInfo.InvariantCulture)}; it must be at least 0 and below 1");
        long minimum = testFraction > 0 ? 2 : 1;
        if (count < minimum) throw new DistTrainException(ExitCode.BadData, $"{count} examples are too few to train on and hold {testFraction.ToString(CultureInfo.InvariantCulture)} of them out");
        TestCount = testFraction > 0 ? Math.Clamp((long)Math.Round(count * testFraction), 1, count - 1) : 0;
        TrainCount = count - TestCount;
        _seed = seed;
        _order = new KeyedPermutation(seed, "split", 0, count);
    }

    /// <summary>Examples held out.</summary>
    public long TestCount { get; }

    /// <summary>Examples left for training.</summary>
    public long TrainCount { get; }

    /// <summary>Whether an example of the source is held out.</summary>
    public bool IsTest(long example) => _order.Inverse(example) < TestCount;

    /// <summary>The example of the source that is number <paramref name="i"/> of the training part.</summary>
    public long TrainExample(long i) => _order.Map(TestCount + i);

    /// <summary>The example of the source that is number <paramref name="i"/> of the test part.</summary>
    public long TestExample(long i) => _order.Map(i);

    /// <summary>The training part of <paramref name="source"/>, a view.</summary>
    public IDataset Train(IDataset source) => new Part(source, this, test: false);

    /// <summary>The test part of <paramref name="source"/>, a view.</summary>
    public IDataset Test(IDataset source) => new Part(source, this, test: true);

    private sealed class Part : IDataset
    {
        // Indices are translated in pieces of this many, on the stack.
        private const int Piece = 256;

        private readonly IDataset _source;
        private readonly KeyedPermutation _order;
        private readonly long _first;
        private readonly Lazy<string> _hash;

        public Part(IDataset source, TrainTestSplit split, bool test)
        {
            if (source.Count != split.TrainCount + split.TestCount) throw new ArgumentException($"the split is of {split.TrainCount + split.TestCount} examples, the dataset has {source.Count}", nameof(source));
            _source = source;
            _order = split._order;
            _first = test ? 0 : split.TestCount;
            Count = test ? split.TestCount : split.TrainCount;
            string part = $"{(test ? "test" : "train")} seed {split._seed} count {split.TestCount}";
            _hash = new(() => ContentHasher.Combine("split", source.ContentHash, part));
        }

        public long Count { get; }

        public ImmutableArray<int> InputShape => _source.InputShape;

        public int FeatureCount => _source.FeatureCount;

        public TargetSpec Target => _source.Target;

        public float Black => _source.Black;

        public string ContentHash => _hash.Value;

        public void GatherInputs(ReadOnlySpan<long> examples, Span<float> inputs)
        {
            GatherChecks.Destination(examples.Length, FeatureCount, inputs.Length);
            Span<long> piece = stackalloc long[Piece];
            for (int i = 0; i < examples.Length; i += Piece)
            {
                Span<long> mapped = Translate(examples[i..], piece);
                _source.GatherInputs(mapped, inputs.Slice(i * FeatureCount, mapped.Length * FeatureCount));
            }
        }

        public void GatherLabels(ReadOnlySpan<long> examples, Span<int> labels)
        {
            GatherChecks.Destination(examples.Length, Target.Length, labels.Length);
            Span<long> piece = stackalloc long[Piece];
            for (int i = 0; i < examples.Length; i += Piece)
            {
                Span<long> mapped = Translate(examples[i..], piece);
                _source.GatherLabels(mapped, labels.Slice(i * Target.Length, mapped.Length * Target.Length));
            }
        }

        public void GatherTargets(ReadOnlySpan<long> examples, Span<float> targets)
        {
            GatherChecks.Kind(Target, TargetKind.RealValues);
            GatherChecks.Destination(examples.Length, Target.Width, targets.Length);
            Span<long> piece = stackalloc long[Piece];
            for (int i = 0; i < examples.Length; i += Piece)
            {
                Span<long> mapped = Translate(examples[i..], piece);
                _source.GatherTargets(mapped, targets.Slice(i * Target.Width, mapped.Length * Target.Width));
            }
        }

        private Span<long> Translate(ReadOnlySpan<long> examples, Span<long> piece)
        {
            Span<long> mapped = piece[..Math.Min(Piece, examples.Length)];
            for (int i = 0; i < mapped.Length; i++)
            {
                if ((ulong)examples[i] >= (ulong)Count) throw new ArgumentOutOfRangeException(nameof(examples), examples[i], $"example index outside [0, {Count})");
                mapped[i] = _order.Map(_first + examples[i]);
            }

            return mapped;
        }
    }
}
