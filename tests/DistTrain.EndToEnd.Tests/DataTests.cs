using System.Text;
using DistTrain.Core;
using DistTrain.Jobs;

namespace DistTrain.EndToEnd.Tests;

/// <summary>Kinds of data from the file to the trained model, on any number of workers to the same bits.</summary>
public sealed class DataTests : IDisposable
{
    private const string Tagger = """
        data: { name: tagged, path: PATH, length: 6, prefix: 1, suffix: 2, min_count: 1, test_fraction: 0.2 }
        model:
          - concat:
            - [embedding: { vocabulary: 40, out: 8, padding: 0, count: 1 }]
            - [embedding: { vocabulary: 30, out: 4, first: 1 }]
          - lstm: { hidden: 12, bidirectional: true }
          - dense: 3
        loss: { softmax_cross_entropy: { ignore_index: -1 } }
        optimizer: { adam: { learning_rate: 0.02 } }
        batch: { size: 20 }
        training: { epochs: 6 }
        """;

    private const string Reader = """
        data: { name: text, path: PATH, context: 16, stride: 5 }
        model: [embedding: { vocabulary: 11, out: 16 }, gru: 24, dense: 11]
        optimizer: { adam: { learning_rate: 0.01 } }
        batch: { size: 24 }
        training: { epochs: 4 }
        """;

    private const string Digits = """
        data: { name: digits, augment: [flip: 0.1, crop: 1, rotate: 10, shift: 0.5, scale: { least: 0.9, most: 1.1 }, brightness: 0.1, noise: 0.05, cutout: 2] }
        model: [conv: { out: 4, kernel: 3, padding: 1 }, relu, flatten, dense: 10]
        batch: { size: 100 }
        training: { max_steps: 20 }
        """;

    private readonly string _directory = Directory.CreateTempSubdirectory("disttrain-e2e-data-").FullName;

    public void Dispose() => Directory.Delete(_directory, recursive: true);

    private string Write(string name, string text)
    {
        string path = Path.Combine(_directory, name);
        File.WriteAllText(path, text);
        return path;
    }

    // Words of three kinds, told apart by their ends and by what stands before them.
    private static string Sentences()
    {
        var random = new Random(1);
        var text = new StringBuilder();
        for (int s = 0; s < 150; s++)
        {
            int length = 2 + random.Next(7);
            for (int i = 0; i < length; i++)
            {
                string tag = (i % 3) switch { 0 => "DET", 1 => "NOUN", _ => "VERB" };
                string end = tag switch { "DET" => "e", "NOUN" => "t", _ => "s" };
                text.Append((char)('a' + random.Next(10))).Append(end).Append('\t').Append(tag).Append('\n');
            }

            text.Append('\n');
        }

        return text.ToString();
    }

    private static async Task<TrainResult> Train(string yaml, string path, int workers, params string[] overrides)
    {
        Job job = JobReader.Parse(yaml.Replace("PATH", path, StringComparison.Ordinal), "job", [$"cluster.workers={workers}", .. overrides]);
        using TrainedModel model = await Trainer.TrainAsync(job);
        return model.Result;
    }

    [Fact]
    public async Task Train_TaggedSentences_LearnsTheSameOnAnyCluster()
    {
        string path = Write("tags.tsv", Sentences());
        TrainResult one = await Train(Tagger, path, 1), three = await Train(Tagger, path, 3);
        Assert.Equal(one.WeightsSha256, three.WeightsSha256);
        Assert.True(one.TestAccuracy > 0.95, $"accuracy {one.TestAccuracy}");
        Assert.Equal(one.TestAccuracy, three.TestAccuracy);
    }

    [Fact]
    public async Task Train_Text_LearnsTheSameOnAnyCluster()
    {
        string path = Write("text.txt", string.Concat(Enumerable.Repeat("lo and behold, a line\n", 80)).Replace("v", "", StringComparison.Ordinal)[..1500].Replace("behold", "bolod", StringComparison.Ordinal));
        TrainResult one = await Train(Reader, path, 1), three = await Train(Reader, path, 3);
        Assert.Equal(one.WeightsSha256, three.WeightsSha256);
        Assert.True(one.TestLoss < 1, $"loss {one.TestLoss}");
    }

    [Fact]
    public async Task Train_AugmentedImages_AreTheSameOnAnyCluster()
    {
        TrainResult one = await Train(Digits, "", 1), three = await Train(Digits, "", 3);
        Assert.Equal(one.WeightsSha256, three.WeightsSha256);
        Assert.NotEqual(one.WeightsSha256, (await Train(Digits, "", 1, "data.augment.6.noise=0.06")).WeightsSha256);
        Assert.NotEqual(one.WeightsSha256, (await Train(Digits, "", 1, "data.augment=[]")).WeightsSha256);
    }

    [Fact]
    public async Task Train_MixedImages_LearnTheSameOnAnyCluster()
    {
        string[] mixed = ["data.augment=[brightness: 0.05, mixup: 0.2, cutmix: { alpha: 1, probability: 0.5 }]", "training.max_steps=120", "optimizer={ adam: { learning_rate: 0.01 } }"];
        TrainResult one = await Train(Digits, "", 1, mixed), three = await Train(Digits, "", 3, mixed);
        Assert.Equal(one.WeightsSha256, three.WeightsSha256);
        Assert.Equal(one.TestLoss, three.TestLoss);
        Assert.True(one.TestAccuracy > 0.9, $"accuracy {one.TestAccuracy}");
        mixed[0] = "data.augment=[brightness: 0.05, mixup: 0.21, cutmix: { alpha: 1, probability: 0.5 }]";
        Assert.NotEqual(one.WeightsSha256, (await Train(Digits, "", 1, mixed)).WeightsSha256);
    }

    [Fact]
    public async Task Train_LabelsThatDoNotFitTheOutput_IsRefused()
    {
        string path = Write("text.txt", string.Concat(Enumerable.Repeat("abcdefghijk", 80)));
        var e = await Assert.ThrowsAsync<DistTrainException>(() => Train(Reader, path, 1, "model=[embedding: { vocabulary: 11, out: 8 }, flatten, dense: 11]"));
        Assert.Equal(ExitCode.BadUsage, e.ExitCode);
        Assert.Contains("the data has 16", e.Message, StringComparison.Ordinal);
        Assert.Contains("[16, 11]", e.Message, StringComparison.Ordinal);
        e = await Assert.ThrowsAsync<DistTrainException>(() => Train(Digits, "", 1, "data.augment=[flipp]"));
        Assert.Contains("flip", e.Message, StringComparison.Ordinal);
        e = await Assert.ThrowsAsync<DistTrainException>(() => Train(Reader, path, 1, "data.augment=[flip]"));
        Assert.Contains("data.augment: 'flip' is for images", e.Message, StringComparison.Ordinal);
    }
}
