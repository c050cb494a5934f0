using DistTrain.Composition;
using DistTrain.Core;
using DistTrain.Jobs;
using DistTrain.Training;

namespace DistTrain;

/// <summary>
/// Trains from C#, within this process: the same actors, steps and bits as <c>disttrain train</c>, on arrays of the
/// caller's own. Nothing is written unless the job's <see cref="CheckpointOptions.Path"/> is set.
/// </summary>
/// <example>
/// <code>
/// var job = new Job
/// {
///     Model = new ModelSpec([Layers.Dense(16), Layers.Tanh(), Layers.Dense(2)]),
///     Arrays = (new ArrayDataset(points, [2], labels, classes: 2), null),
///     Batch = new() { Size = 32 },
///     Training = new() { Epochs = 50 },
///     Cluster = new() { Workers = 2 },
/// };
/// using TrainedModel model = await Trainer.TrainAsync(job);
/// int[] classes = model.Classify(newPoints);
/// </code>
/// </example>
public static class Trainer
{
    /// <summary>Trains until the job is done.</summary>
    /// <param name="job">What to train on what; <see cref="Job.Arrays"/> or <see cref="Job.Data"/>.</param>
    /// <param name="observer">Watches the training; null for nobody.</param>
    /// <param name="stop">Ends the training early, after the steps in hand.</param>
    /// <returns>The model, with the run's figures; the caller disposes it.</returns>
    /// <exception cref="DistTrainException">The job or its data is wrong, or training diverged.</exception>
    /// <exception cref="OperationCanceledException"><paramref name="stop"/> fired before the first step, or the steps in
    /// hand took too long to finish.</exception>
    public static async Task<TrainedModel> TrainAsync(Job job, ITrainingObserver? observer = null, CancellationToken stop = default)
    {
        await using var run = new InProcessRun(job, resume: false, save: job.Checkpoint.Path is not null, observer ?? new Nobody());
        TrainResult result = await run.RunAsync(stop);
        var exit = (ExitCode)result.ExitCode;
        if (exit is not (ExitCode.Done or ExitCode.Interrupted)) throw new DistTrainException(exit, result.Error ?? "training failed");
        if (run.Model is not { } weights || weights.Version != (result.BestStep ?? result.Steps)) throw new OperationCanceledException(stop);
        return new TrainedModel(run.Context.Model, weights, result, job.Training.Ema is null ? run.Context.Wire.Weights : WireFormat.Exact);
    }

    private sealed class Nobody : ITrainingObserver
    {
        public void Listening(string address)
        {
        }

        public void Waiting(string message)
        {
        }

        public void Started(TrainingStarted info)
        {
        }

        public void Step(StepReport report)
        {
        }

        public void Evaluated(EvaluationReport report)
        {
        }

        public void Saved(long version, string path)
        {
        }

        public void Membership(string message, bool trouble)
        {
        }

        public void Warn(string message)
        {
        }
    }
}
