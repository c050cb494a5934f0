using System.Diagnostics;
using System.Runtime.InteropServices;
using System.Security.Cryptography;
using DistTrain.Composition;
using DistTrain.Core;
using DistTrain.Core.Layout;
using DistTrain.Core.Sharding;
using DistTrain.Data;
using DistTrain.Jobs;
using DistTrain.Kernels;
using DistTrain.Nn;
using DistTrain.Training;
using DistTrain.Training.Checkpoints;

namespace DistTrain;

/// <summary>Measures a saved model on test examples, in this process: the figures are those of training, to the bit.</summary>
public static class Evaluation
{
    // Rows of one pass: enough to fill the kernels.
    private const int Rows = 256;

    /// <summary>Evaluates a checkpoint on the test part of the data that it was trained on.</summary>
    /// <param name="path">A checkpoint's directory, or a run's for its newest good one.</param>
    /// <param name="overrides">Changes to its job, such as <c>data.path=/elsewhere</c> or <c>data.test_path=new.csv</c>.</param>
    /// <param name="warn">Takes what the user should know.</param>
    /// <exception cref="DistTrainException">BadData: no good checkpoint, other data or model than it says, or no test examples.</exception>
    public static EvaluationResult Run(string path, IReadOnlyCollection<string> overrides, Action<string> warn)
    {
        long start = Stopwatch.GetTimestamp();
        using LoadedCheckpoint checkpoint = CheckpointStore.Find(path, warn);
        CheckpointManifest manifest = checkpoint.Manifest;
        Job job = JobReader.Parse(manifest.Job, $"{checkpoint.Path}: job", overrides);
        JobContext loaded = JobContext.Load(job);
        CheckDataIsMeant(checkpoint, loaded, overrides);
        ModelComparison.RequireSameModel(checkpoint.Path, manifest, loaded.Model.Layout.Tensors.Select(t => (t.Name, t.Shape)));
        if (loaded.Test is not { Count: > 0 } test) throw new DistTrainException(ExitCode.BadData, $"{loaded.DataSummary}: there are no test examples; name some with --data FILE");
        if (manifest.NumericsRevision != NumericsRevision.Current) warn($"saved under numerics revision {manifest.NumericsRevision}, this build has {NumericsRevision.Current}: the last digits may differ");

        ParameterLayout layout = loaded.Model.Layout;
        using var weights = new NativeBuffer(layout.Length);
        Read(checkpoint, weights);
        string sha = Sha256(layout, weights);
        // Workers evaluate what arrives: weights as they travel, averages as they are.
        if (job.Training.Ema is null) JobWire.Weights(job).Round(weights);
        SegmentStats stats = Evaluate(loaded.Model, test, weights, job);
        return new EvaluationResult
        {
            Name = job.Name,
            Checkpoint = checkpoint.Path,
            Steps = manifest.Version,
            Data = loaded.DataSummary,
            Examples = stats.Examples,
            TestLoss = stats.MeanLoss,
            TestAccuracy = loaded.Model.HasAccuracy ? stats.Accuracy : null,
            WeightsSha256 = sha,
            NumericsRevision = NumericsRevision.Current,
            WallSeconds = Stopwatch.GetElapsedTime(start).TotalSeconds,
        };
    }

    private static void CheckDataIsMeant(LoadedCheckpoint checkpoint, JobContext data, IReadOnlyCollection<string> overrides)
    {
        if (data.DataHash == checkpoint.Manifest.DataHash || overrides.Any(o => o.StartsWith("data", StringComparison.Ordinal))) return;
        throw new DistTrainException(ExitCode.BadData, $"{data.DataSummary}: not the data that {checkpoint.Path} was trained on (data hash {data.DataHash[..12]}…, there {checkpoint.Manifest.DataHash[..Math.Min(12, checkpoint.Manifest.DataHash.Length)]}…)\nname it with --set data.path=…, or other test examples with --data FILE");
    }

    private static unsafe void Read(LoadedCheckpoint checkpoint, NativeBuffer weights)
    {
        const int Piece = 1 << 24;
        for (long at = 0; at < weights.Length; at += Piece)
        {
            checkpoint.Read(ModelSnapshot.Weights, at, new Span<float>(weights.Pointer + at, (int)Math.Min(Piece, weights.Length - at)));
        }
    }

    /// <summary>The sums over all test examples: per shard in ascending order, shards along the tree, as training has it.</summary>
    private static unsafe SegmentStats Evaluate(Model model, IDataset test, NativeBuffer weights, Job job)
    {
        var tree = new ShardTree(job.Batch.Shards);
        int most = (int)Math.Min(Rows, test.Count);
        long[] examples = new long[most];
        using var pool = new KernelPool(Environment.ProcessorCount);
        using var run = new ModelRun(model, most, pool, maxLeaves: 1);
        return Node(0);

        SegmentStats Node(int node)
        {
            if (tree.Left(node) >= 0) return SegmentStats.Join(Node(tree.Left(node)), Node(tree.Right(node)));
            SegmentStats sum = default;
            (long start, long end) = ShardSlice.Of(test.Count, tree.Shards, tree.Range(node).Lo);
            for (; start < end; start += most)
            {
                int rows = (int)Math.Min(most, end - start);
                for (int i = 0; i < rows; i++) examples[i] = start + i;
                test.Gather(examples.AsSpan(0, rows), run.Input, run.Labels, run.Targets);
                run.Forward(weights.Pointer, rows, new StepKey(job.Seed, 0, Training: false));
                run.AccumulateEvaluation(rows, ref sum);
            }

            return sum;
        }
    }

    private static unsafe string Sha256(ParameterLayout layout, NativeBuffer weights)
    {
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        foreach (TensorEntry tensor in layout.Tensors) hash.AppendData(MemoryMarshal.AsBytes(new ReadOnlySpan<float>(weights.Pointer + tensor.Offset, checked((int)tensor.Length))));
        return Convert.ToHexStringLower(hash.GetHashAndReset());
    }
}
