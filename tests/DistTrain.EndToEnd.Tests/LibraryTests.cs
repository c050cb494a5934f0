using DistTrain.Core;
using DistTrain.Data;
using DistTrain.Jobs;
using DistTrain.Nn;
using DistTrain.Optim;

namespace DistTrain.EndToEnd.Tests;

/// <summary>Training from C#, on arrays of the caller's own.</summary>
public class LibraryTests
{
    // Two classes that no line divides: inside and outside of a circle.
    private static (float[] Points, int[] Labels) Circle(int count, int seed)
    {
        var random = new Random(seed);
        var points = new float[2 * count];
        var labels = new int[count];
        for (int i = 0; i < count; i++)
        {
            (points[2 * i], points[(2 * i) + 1]) = ((random.NextSingle() * 2) - 1, (random.NextSingle() * 2) - 1);
            labels[i] = (points[2 * i] * points[2 * i]) + (points[(2 * i) + 1] * points[(2 * i) + 1]) < 0.5 ? 1 : 0;
        }

        return (points, labels);
    }

    private static Job Job(int workers)
    {
        (float[] points, int[] labels) = Circle(500, 1);
        return new Job
        {
            Model = new ModelSpec([Layers.Dense(16), Layers.Tanh(), Layers.Dense(2)]),
            Arrays = (new ArrayDataset(points, [2], labels, classes: 2), null),
            Optimizer = AdamSpec.Adam with { LearningRate = 0.02 },
            Batch = new() { Size = 50 },
            Training = new() { Epochs = 40 },
            Cluster = new() { Workers = workers },
        };
    }

    [Fact]
    public async Task Trainer_OnArrays_LearnsAndWritesNothing()
    {
        string before = Directory.GetCurrentDirectory();
        bool runs = Directory.Exists(Path.Combine(before, "runs"));
        using TrainedModel model = await Trainer.TrainAsync(Job(2));
        (float[] points, int[] labels) = Circle(400, 2);
        int right = model.Classify(points).Zip(labels).Count(p => p.First == p.Second);
        Assert.True(right >= 380, $"{right} of 400");
        Assert.Equal(800, model.Predict(points).Length);
        Assert.Equal(32, model.Tensor("0.weight").Length);
        Assert.Null(model.Result.Checkpoint);
        Assert.Equal(runs, Directory.Exists(Path.Combine(before, "runs")));
    }

    [Fact]
    public async Task Trainer_OnAnyNumberOfWorkers_GivesTheSameBits()
    {
        using TrainedModel one = await Trainer.TrainAsync(Job(1));
        using TrainedModel three = await Trainer.TrainAsync(Job(3));
        Assert.Equal(one.Result.WeightsSha256, three.Result.WeightsSha256);
    }

    [Fact]
    public async Task Trainer_OnAModelThatDoesNotFit_NamesTheLayer()
    {
        Job job = Job(1) with { Model = new ModelSpec([Layers.Dense(3)]) };
        DistTrainException e = await Assert.ThrowsAsync<DistTrainException>(() => Trainer.TrainAsync(job));
        Assert.Equal(ExitCode.BadUsage, e.ExitCode);
        Assert.Contains("dense", e.Message);
    }
}
