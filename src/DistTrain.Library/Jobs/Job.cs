namespace DistTrain.Jobs;

/// <summary>One job: what to train on what, and how.</summary>
public sealed record Job
{
    /// <summary>The job's name.</summary>
    public string Name { get; init; } = "digits";
}
