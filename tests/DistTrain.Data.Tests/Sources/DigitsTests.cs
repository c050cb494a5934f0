using DistTrain.Core;

namespace DistTrain.Data.Tests.Sources;

public class DigitsTests
{
    [Fact]
    public void Load_Default_IsTheWholeSetSplitOneFifth()
    {
        LoadedData data = DatasetLoader.Load(new DataSource(), seed: 1);
        Assert.Equal((1438, 359), (data.Train.Count, data.Test!.Count));
        Assert.Equal([1, 8, 8], data.Train.InputShape.ToArray());
        Assert.Equal(TargetSpec.Classes(10), data.Train.Target);
        Assert.Equal("digits (embedded): 1,438 training and 359 test examples of [1, 8, 8], 10 classes", data.Summary);
        var counts = new int[10];
        double sum = 0;
        foreach (IDataset part in (IDataset[])[data.Train, data.Test])
        {
            long[] all = [.. Enumerable.Range(0, (int)part.Count).Select(i => (long)i)];
            int[] labels = new int[all.Length];
            float[] x = new float[all.Length * 64];
            part.GatherLabels(all, labels);
            part.GatherInputs(all, x);
            foreach (int label in labels) counts[label]++;
            Assert.All(x, v => Assert.True(v is >= 0 and <= 1 && v * 16 == MathF.Round(v * 16)));
            foreach (float v in x) sum += v;
        }

        // Class counts and pixel sum as the published set has them.
        Assert.Equal([178, 182, 177, 183, 181, 182, 181, 179, 174, 180], counts);
        Assert.Equal(561718, sum * 16);
    }

    [Fact]
    public void DataHash_DependsOnSeedAndFractionOnly()
    {
        string hash = DatasetLoader.Load(new DataSource { Name = "digits" }, 1).DataHash;
        Assert.Equal(hash, DatasetLoader.Load(new DataSource(), 1).DataHash);
        Assert.NotEqual(hash, DatasetLoader.Load(new DataSource(), 2).DataHash);
        Assert.NotEqual(hash, DatasetLoader.Load(new DataSource { TestFraction = 0.5 }, 1).DataHash);
    }

    [Fact]
    public void Load_Standardized_ConstantPixelsBecomeZero()
    {
        LoadedData data = DatasetLoader.Load(new DataSource { Standardize = true }, 1);
        long[] all = [.. Enumerable.Range(0, (int)data.Train.Count).Select(i => (long)i)];
        float[] x = new float[all.Length * 64];
        data.Train.GatherInputs(all, x);
        for (int pixel = 0; pixel < 64; pixel++)
        {
            double[] column = [.. Enumerable.Range(0, all.Length).Select(i => (double)x[i * 64 + pixel])];
            Assert.Equal(0, column.Average(), 1e-5);
            double deviation = Math.Sqrt(column.Average(v => v * v));
            Assert.True(pixel is 0 or 32 or 39 ? deviation == 0 : Math.Abs(deviation - 1) < 1e-5, $"pixel {pixel}: {deviation}");
        }
    }

    [Fact]
    public void Load_KeyWithoutMeaning_IsRefusedByName()
    {
        var e = Assert.Throws<DistTrainException>(() => DatasetLoader.Load(new DataSource { Name = "digits", Header = true }, 1));
        Assert.Equal((ExitCode.BadUsage, "data.header has no meaning for 'digits'"), (e.ExitCode, e.Message));
    }

    [Fact]
    public void Credit_IsInTheLibrary()
    {
        using Stream? credit = typeof(DatasetLoader).Assembly.GetManifestResourceStream("DistTrain.Data.digits.credit.txt");
        Assert.Contains("CC BY 4.0", new StreamReader(credit!).ReadToEnd(), StringComparison.Ordinal);
    }
}
