using DistTrain.Composition;
using DistTrain.Jobs;
using DistTrain.Nn;
using DistTrain.Training.Checkpoints;

namespace DistTrain;

/// <summary>Looks into jobs and checkpoints.</summary>
public static class Inspection
{
    /// <summary>Reads a job's data and lays its model out, without training.</summary>
    /// <exception cref="Core.DistTrainException">The data can't be read, or the model doesn't fit it.</exception>
    public static InspectedJob Of(Job job)
    {
        var context = JobContext.Load(job);
        Model model = context.Model;
        MemoryReport memory = context.Memory();
        return new InspectedJob
        {
            Name = job.Name,
            JobHash = job.Hash,
            DataHash = context.DataHash,
            Data = context.DataSummary,
            TrainExamples = context.Facts.TrainExamples,
            TestExamples = context.Facts.TestExamples,
            Layers = [.. model.Summary.Select(l => new InspectedLayer(l.Name, l.Kind, l.InputShape, l.OutputShape, l.Parameters, l.Flops))],
            Parameters = model.Layout.ElementCount,
            Flops = model.Summary.Sum(l => l.Flops),
            StepsPerEpoch = context.StepsPerEpoch,
            TotalSteps = context.TotalSteps,
            ServerBytes = model.Layout.Length * sizeof(float) * (1 + job.StateVectors.Count),
            Memory = memory.ToString(),
            WorkerBytes = memory.Bytes + ((job.Training.Ema is null ? 2 : 3) * sizeof(float) * model.Layout.Length),
            Job = job.ToYaml(),
        };
    }

    /// <summary>Opens and verifies a checkpoint.</summary>
    /// <param name="path">Its directory, or a run's for its newest good one.</param>
    /// <param name="warn">Takes what the user should know: damaged ones that were passed over.</param>
    /// <exception cref="Core.DistTrainException">BadData: there is none, or it is damaged.</exception>
    public static InspectedCheckpoint OfCheckpoint(string path, Action<string> warn)
    {
        using LoadedCheckpoint checkpoint = CheckpointStore.Find(path, warn);
        CheckpointManifest manifest = checkpoint.Manifest;
        return new InspectedCheckpoint
        {
            Checkpoint = checkpoint.Path,
            Name = manifest.JobName,
            Created = manifest.Created,
            Steps = manifest.Version,
            Epoch = manifest.Epoch,
            EpochPosition = manifest.EpochPosition,
            Seed = manifest.Seed,
            Optimizer = manifest.Optimizer,
            StateVectors = manifest.StateVectors,
            Metrics = manifest.Metrics,
            JobHash = manifest.JobHash,
            DataHash = manifest.DataHash,
            NumericsRevision = manifest.NumericsRevision,
            Parameters = checkpoint.Layout.ElementCount,
            Tensors = [.. manifest.Tensors.Select(t => new InspectedTensor(t.Name, t.Shape))],
            Files = [.. manifest.Files.Select(f => new InspectedFile(f.Name, f.Bytes, f.Sha256))],
            Job = manifest.Job,
        };
    }
}
