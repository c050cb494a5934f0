using System.Globalization;

namespace DistTrain.Data;

/// <summary>The handwritten digits that come with the library (their credit lies beside them in Resources/).</summary>
internal static class DigitsSource
{
    private const string Resource = "DistTrain.Data.digits.csv.gz";
    private const int Classes = 10;

    public static LoadedData Load(DataSource source, ulong seed)
    {
        DatasetLoader.Allow(source, "standardize", "scale", "test_fraction");
        DatasetLoader.CheckScale(source);
        CsvTable table = Read();
        var split = new TrainTestSplit(table.Rows, seed, source.TestFraction ?? TrainTestSplit.DefaultTestFraction);
        ReadOnlySpan<double> values = table.Features.Span;
        float[] pixels = source.Standardize
            ? Standardizer.Fit(values, 64, split).Apply(values, scale: 1)
            : Standardizer.None(64).Apply(values, source.Scale ?? 1.0 / 16);
        int[] labels = new CsvClasses(table, Classes).Labels(table);
        var all = new ArrayDataset(pixels, [1, 8, 8], labels, Classes, table.ContentHash);
        IReadOnlyList<string> names = [.. Enumerable.Range(0, Classes).Select(i => i.ToString(CultureInfo.InvariantCulture))];
        return DatasetLoader.Describe("digits", split.Train(all), split.TestCount > 0 ? split.Test(all) : null, names, "embedded");
    }

    private static CsvTable Read()
    {
        Stream stream = typeof(DigitsSource).Assembly.GetManifestResourceStream(Resource)
            ?? throw new InvalidOperationException($"the resource {Resource} is missing from the library");
        using DataFile file = DataFile.Open("embedded digits", stream);
        return CsvTable.Read(file, new CsvOptions(',', Header: false, Label: "64", [], []));
    }
}
