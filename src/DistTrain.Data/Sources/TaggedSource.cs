using DistTrain.Core;

namespace DistTrain.Data;

/// <summary>
/// Tagged sentences, for sequence labelling: <c>word TAB tag</c> lines with an empty line between sentences. Words,
/// characters and tags are numbered by the training file.
/// </summary>
internal static class TaggedSource
{
    public static LoadedData Load(DataSource source, ulong seed)
    {
        DatasetLoader.Allow(source, "path", "test_path", "test_fraction", "length", "min_count", "prefix", "suffix");
        if (source.Path == null) throw new DistTrainException(ExitCode.BadUsage, "data.path is missing; a tagged source needs a file");
        int length = DatasetLoader.Option("length", source.Length, 64, 1, 1 << 20);
        int minCount = DatasetLoader.Option("min_count", source.MinCount, 2, 1, int.MaxValue);
        int prefix = DatasetLoader.Option("prefix", source.Prefix, 0, 0, 64);
        int suffix = DatasetLoader.Option("suffix", source.Suffix, 0, 0, 64);
        TaggedFile file = TaggedFile.Read(source.Path);
        var vocabulary = new TaggedVocabulary(file, minCount);
        string from = $"{System.IO.Path.GetFileName(source.Path)}, ids of {vocabulary.WordCount} words{(prefix + suffix > 0 ? $" and {vocabulary.CharacterCount} characters" : "")}";
        TaggedDataset all = Read(file);
        if (source.TestPath != null) return DatasetLoader.Describe("tagged", all, Read(TaggedFile.Read(source.TestPath)), vocabulary.Tags, from);
        var split = new TrainTestSplit(all.Count, seed, source.TestFraction ?? TrainTestSplit.DefaultTestFraction);
        return DatasetLoader.Describe("tagged", split.Train(all), split.TestCount > 0 ? split.Test(all) : null, vocabulary.Tags, from);

        TaggedDataset Read(TaggedFile part) => new(
            part, vocabulary, length, prefix, suffix,
            ContentHasher.Combine("tagged", part.Hash, file.Hash, $"length {length} min_count {minCount} prefix {prefix} suffix {suffix}"));
    }
}
