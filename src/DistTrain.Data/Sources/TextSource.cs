using System.Globalization;
using System.Text;
using DistTrain.Core;

namespace DistTrain.Data;

/// <summary>
/// A text for character models. Ids number the different characters (code points) of all its files in ascending order.
/// Training examples are windows that begin at every character, or every <c>stride</c>; the held-out text, the end of the
/// file unless there is a file of its own, is cut into windows that don't overlap.
/// </summary>
internal static class TextSource
{
    private const double DefaultTestFraction = 0.1;
    private const string Characters = "characters";

    public static LoadedData Load(DataSource source, ulong seed)
    {
        DatasetLoader.Allow(source, "path", "test_path", "test_fraction", "context", "stride", "vocabulary");
        if (source.Path == null) throw new DistTrainException(ExitCode.BadUsage, "data.path is missing; a text source needs a file");
        if (source.Vocabulary is { } vocabulary && vocabulary != Characters) throw new DistTrainException(ExitCode.BadUsage, $"data.vocabulary is '{vocabulary}'{NearestName.Hint(vocabulary, [Characters])}");
        int context = DatasetLoader.Option("context", source.Context, 64, 1, 1 << 20);
        int stride = DatasetLoader.Option("stride", source.Stride, 1, 1, 1 << 20);
        double fraction = source.TestFraction ?? DefaultTestFraction;
        if (!(fraction is >= 0 and < 1)) throw new DistTrainException(ExitCode.BadUsage, $"data.test_fraction is {fraction.ToString(CultureInfo.InvariantCulture)}; it must be at least 0 and below 1");
        CharacterText text = CharacterText.Read(source.Path);
        CharacterText? testText = source.TestPath == null ? null : CharacterText.Read(source.TestPath);
        int[] characters = testText == null ? [.. text.Alphabet] : [.. new SortedSet<int>([.. text.Alphabet, .. testText.Alphabet])];
        var ids = new CharacterIds(characters);
        string alphabet = string.Join(',', characters);

        long held = testText == null ? (long)Math.Round(text.Length * fraction) : 0, trained = text.Length - held;
        TextDataset train = Windows(text, 0, trained, stride, "train");
        TextDataset? test = testText != null ? Windows(testText, 0, testText.Length, context, "test")
            : held > 0 ? Windows(text, trained, held, context, "test")
            : null;
        if (train.Count == 0) throw new DistTrainException(ExitCode.BadData, $"{text.Path}: {trained} characters to train on are too few for windows of {context} and the character after each");
        if (test?.Count == 0) throw new DistTrainException(ExitCode.BadData, $"{testText?.Path ?? text.Path}: the held-out part is shorter than one window of {context} and the character after it; data.test_fraction: 0 holds nothing out");
        return DatasetLoader.Describe("text", train, test, [.. characters.Select(c => Rune.IsValid(c) ? new Rune(c).ToString() : "")], System.IO.Path.GetFileName(source.Path));

        TextDataset Windows(CharacterText of, long first, long length, int step, string name) =>
            new(of, ids, first, length, context, step, ContentHasher.Combine("characters", of.Hash, alphabet, $"{name} {length} of {of.Length}"));
    }
}
