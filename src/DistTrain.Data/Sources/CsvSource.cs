using DistTrain.Core;

namespace DistTrain.Data;

/// <summary>Delimited text: classes or real targets from its columns.</summary>
internal static class CsvSource
{
    public static LoadedData Load(DataSource source, ulong seed)
    {
        DatasetLoader.Allow(source, "path", "test_path", "header", "label", "targets", "ignore", "delimiter", "classes", "standardize", "scale", "test_fraction");
        DatasetLoader.CheckScale(source);
        if (source.Path == null) throw new DistTrainException(ExitCode.BadUsage, "data.path is missing; a csv source needs a file");
        if (source.Classes is { } given && (given < 1 || given > CsvClasses.Maximum)) throw new DistTrainException(ExitCode.BadUsage, $"data.classes is {given}; expected 1 to {CsvClasses.Maximum}");
        if (source.Label != null && source.Targets.Count > 0) throw new DistTrainException(ExitCode.BadUsage, "data.label and data.targets are both given; a csv source has one or the other");
        if (source.Classes != null && source.Targets.Count > 0) throw new DistTrainException(ExitCode.BadUsage, "data.classes has no meaning with data.targets");
        char delimiter = source.Delimiter != null ? CsvDelimiter.Named(source.Delimiter) : CsvDelimiter.Guess(source.Path);
        var options = new CsvOptions(delimiter, source.Header, source.Label, source.Targets, source.Ignore);
        CsvTable train = Read(source.Path, options, like: null);
        CsvTable? test = source.TestPath == null ? null : Read(source.TestPath, options with { Header = train.HasHeader }, like: train);
        TrainTestSplit? split = test == null ? new TrainTestSplit(train.Rows, seed, source.TestFraction ?? TrainTestSplit.DefaultTestFraction) : null;
        int features = train.Layout.Features.Length;
        Standardizer standardizer = source.Standardize ? Standardizer.Fit(train.Features.Span, features, split) : Standardizer.None(features);
        CsvClasses? classes = train.Layout.Label >= 0 ? new CsvClasses(train, source.Classes) : null;
        double scale = source.Standardize ? 1 : source.Scale ?? 1;
        ArrayDataset all = Finish(train, standardizer, scale, classes);
        string from = System.IO.Path.GetFileName(source.Path);
        IReadOnlyList<string> names = classes?.Names ?? [];
        return split == null
            ? DatasetLoader.Describe(source.Name!, all, Finish(test!, standardizer, scale, classes), names, from)
            : DatasetLoader.Describe(source.Name!, split.Train(all), split.TestCount > 0 ? split.Test(all) : null, names, from);
    }

    private static CsvTable Read(string path, CsvOptions options, CsvTable? like)
    {
        using DataFile file = DataFile.Open(path);
        return CsvTable.Read(file, options, like);
    }

    private static ArrayDataset Finish(CsvTable table, Standardizer standardizer, double scale, CsvClasses? classes)
    {
        int features = table.Layout.Features.Length;
        float[] inputs = standardizer.Apply(table.Features.Span, scale);
        if (classes != null) return new ArrayDataset(inputs, [features], classes.Labels(table), classes.Count, table.ContentHash);
        int width = table.Layout.Targets.Length;
        float[] targets = Standardizer.None(width).Apply(table.Targets.Span, scale: 1);
        return new ArrayDataset(inputs, [features], targets, width, table.ContentHash);
    }
}
