namespace DistTrain.Nn.Tests;

/// <summary>
/// Tests that force a SIMD path, and tests that count allocations: they run one after another, because the first pass
/// on a new path makes room for its scratch memory.
/// </summary>
[CollectionDefinition(Name)]
public sealed class ProcessWideState
{
    public const string Name = "process-wide state";
}
