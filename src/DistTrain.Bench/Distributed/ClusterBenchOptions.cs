namespace DistTrain.Bench.Distributed;

/// <summary>How <see cref="ClusterBench"/> measures.</summary>
public sealed record ClusterBenchOptions
{
    /// <summary>Workers, each with one thread.</summary>
    public int Workers { get; init; } = 2;

    /// <summary>Parameter servers in processes of their own; 0 for one within each worker's process.</summary>
    public int Servers { get; init; } = 1;

    /// <summary><c>shared-memory</c>, <c>grpc</c> or <c>in-process</c>.</summary>
    public string Channel { get; init; } = "shared-memory";

    /// <summary>Shards a mini-batch.</summary>
    public int Shards { get; init; } = 8;

    /// <summary>Examples a mini-batch; null for each network's own.</summary>
    public int? Batch { get; init; }

    /// <summary>More of the job, as <c>key=value</c>.</summary>
    public IReadOnlyList<string> Overrides { get; init; } = [];

    /// <summary>Only networks whose name holds one of these; all when empty.</summary>
    public IReadOnlyList<string> Filters { get; init; } = [];

    /// <summary>Seconds of steady state in each run, about.</summary>
    public double Seconds { get; init; } = 2;

    /// <summary>Runs of each contender, in turn.</summary>
    public int Rounds { get; init; } = 5;

    /// <summary>Whether PyTorch is measured too.</summary>
    public bool Peers { get; init; } = true;

    /// <summary>The Python that has PyTorch; null to look for one.</summary>
    public string? Python { get; init; }
}
