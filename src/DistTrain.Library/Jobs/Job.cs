using System.Security.Cryptography;
using System.Text;
using DistTrain.Core.Config;
using DistTrain.Data;
using DistTrain.Nn;
using DistTrain.Optim;
using DistTrain.Training.Checkpoints;

namespace DistTrain.Jobs;

/// <summary>
/// One job: what to train on what, and how. Read from YAML by <see cref="JobReader"/>, or built in C#:
/// </summary>
/// <example>
/// <code>
/// var job = new Job
/// {
///     Name = "xor",
///     Model = new ModelSpec([Layers.Dense(8), Layers.Tanh(), Layers.Dense(2)]),
///     Arrays = (new ArrayDataset(inputs, [2], labels, classes: 2), null),
/// };
/// </code>
/// </example>
public sealed record Job
{
    /// <summary>The job's name: letters, digits, '.', '_' and '-'.</summary>
    public string Name { get; init; } = "job";

    /// <summary>Everything random follows from it.</summary>
    public ulong Seed { get; init; } = 1;

    /// <summary>Where the examples come from; but for its
    /// augmentation, not looked at where <see cref="Arrays"/> are given.</summary>
    public DataSource Data { get; init; } = new();

    /// <summary>Examples in this process's memory, which only a run within this process can use; null to read
    /// <see cref="Data"/>.</summary>
    public (IDataset Train, IDataset? Test)? Arrays { get; init; }

    /// <summary>The layers, from the input to the output.</summary>
    public required ModelSpec Model { get; init; }

    /// <summary>What is minimised.</summary>
    public LossSpec Loss { get; init; } = Losses.SoftmaxCrossEntropy;

    /// <summary>The update rule.</summary>
    public OptimizerSpec Optimizer { get; init; } = AdamSpec.Adam;

    /// <summary>How the learning rate changes.</summary>
    public ScheduleSpec Schedule { get; init; } = new ConstantSchedule();

    /// <summary>The mini-batch.</summary>
    public BatchOptions Batch { get; init; } = new();

    /// <summary>How long to train.</summary>
    public TrainingOptions Training { get; init; } = new();

    /// <summary>How tensors travel.</summary>
    public WireSection Wire { get; init; } = new();

    /// <summary>Who computes.</summary>
    public ClusterOptions Cluster { get; init; } = new();

    /// <summary>What is saved where.</summary>
    public CheckpointOptions Checkpoint { get; init; } = new();

    /// <summary>What a checkpoint holds beside the weights, a number of each for every parameter.</summary>
    internal IReadOnlyList<string> StateVectors =>
        Training.Ema is null ? ServerOptimizer.StateVectors : [.. ServerOptimizer.StateVectors, ModelSnapshot.Unaveraged];

    /// <summary>What the servers do with what workers send: in local SGD not what a mini-batch is trained with.</summary>
    internal OptimizerSpec ServerOptimizer => Cluster.Consistency.Local?.Outer ?? Optimizer;

    /// <summary>The run's directory: <see cref="CheckpointOptions.Path"/> with its default and a leading ~ resolved.</summary>
    public string RunDirectory
    {
        get
        {
            string path = Checkpoint.Path ?? Path.Combine("runs", Name);
            return path is "~" or ['~', '/', ..] ? Environment.GetFolderPath(Environment.SpecialFolder.UserProfile) + path[1..] : path;
        }
    }

    /// <summary>
    /// SHA-256, in lower-case hexadecimal, over all that decides the weights after a given step, but for the data's
    /// content, which has a hash of its own: seed, reading of the data, model, loss, optimizer, schedule, mini-batch and wire;
    /// and the length of the training where the schedule looks at it; and the consistency where it isn't synchronous. Names,
    /// paths, the rest of the cluster and checkpoints don't count.
    /// </summary>
    public string Hash => Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes("disttrain job 1\n" + YamlWriter.Write(JobTree.OfBits(this)))));

    /// <summary>Reads a job from a tree whose keys have not been looked at yet.</summary>
    /// <exception cref="Core.DistTrainException">A key is missing, unknown (with the nearest right spelling), of the wrong
    /// type or out of range; the message begins with its place.</exception>
    public static Job FromConfig(ConfigNode root) => JobSectionReader.Read(root);

    /// <summary>
    /// The whole job as YAML, every value written out, which <see cref="JobReader.Parse"/> reads back to an equal job;
    /// but for <see cref="Arrays"/>, which stay in this process.
    /// </summary>
    public string ToYaml() => YamlWriter.Write(JobTree.Of(this));
}
