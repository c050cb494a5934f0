using DistTrain.Core;
using DistTrain.Training.Coordinator;

namespace DistTrain;

/// <summary>What is known when training starts.</summary>
/// <param name="Job">The job's name.</param>
/// <param name="Data">The data in words, such as "digits: 1,438 training and 359 test examples of 64 features, 10 classes".</param>
/// <param name="Model">The model in words, such as "3 layers, 8,970 parameters".</param>
/// <param name="Workers">Workers present.</param>
/// <param name="Servers">Parameter servers.</param>
/// <param name="Shards">Shards a mini-batch.</param>
/// <param name="BatchSize">Examples a mini-batch.</param>
/// <param name="FirstStep">The step to begin with; above 0 after a resume.</param>
/// <param name="TotalSteps">The step to end before.</param>
/// <param name="StepsPerEpoch">Steps in one epoch.</param>
/// <param name="Resumed">The checkpoint that training goes on from; null for a new start.</param>
public sealed record TrainingStarted(
    string Job, string Data, string Model, int Workers, int Servers, int Shards, int BatchSize,
    long FirstStep, long TotalSteps, long StepsPerEpoch, string? Resumed);

/// <summary>One committed step.</summary>
/// <param name="Step">Model version reached.</param>
/// <param name="Epoch">The epoch of the step, from 0.</param>
/// <param name="Loss">Mean loss of its mini-batch.</param>
/// <param name="Examples">Its examples.</param>
/// <param name="ExamplesPerSecond">Smoothed over the last steps.</param>
/// <param name="TimeLeft">Estimate; null at the beginning.</param>
public readonly record struct StepReport(long Step, int Epoch, double Loss, long Examples, double ExamplesPerSecond, TimeSpan? TimeLeft);

/// <summary>A finished evaluation.</summary>
/// <param name="Version">The model version.</param>
/// <param name="Epoch">Epochs finished.</param>
/// <param name="TrainLoss">Mean training loss since the last evaluation; null when no step was taken.</param>
/// <param name="TestLoss">Mean test loss.</param>
/// <param name="TestAccuracy">Null where it has no meaning.</param>
public sealed record EvaluationReport(long Version, int Epoch, double? TrainLoss, double TestLoss, double? TestAccuracy);

/// <summary>Watches a job from the coordinator's process. Calls come one at a time and must return soon.</summary>
public interface ITrainingObserver
{
    /// <summary>The coordinator listens here and waits for members.</summary>
    void Listening(string address);

    /// <summary>A line about what is being waited for, at most one a second or so; the same line may come again.</summary>
    void Waiting(string message);

    /// <summary>All that is needed is there: training starts.</summary>
    void Started(TrainingStarted info);

    /// <summary>A step was committed.</summary>
    void Step(StepReport report);

    /// <summary>An evaluation was finished.</summary>
    void Evaluated(EvaluationReport report);

    /// <summary>The gradient of a step was looked at; what looks wrong with it comes as warnings too.</summary>
    void Watched(WatchReport report)
    {
        // Most observers are content with the warnings.
    }

    /// <summary>A checkpoint is complete.</summary>
    void Saved(long version, string path);

    /// <summary>A member joined or left, in words; <paramref name="trouble"/> when it was lost.</summary>
    void Membership(string message, bool trouble);

    /// <summary>A decision that the user may like to hear of, such as an early end.</summary>
    void Note(string message)
    {
        // The result says the same in figures.
    }

    /// <summary>Something the user should know.</summary>
    void Warn(string message);
}
