namespace DistTrain.Nn;

/// <summary>What a forward pass belongs to: all that its random numbers may depend on, beside example and element.</summary>
/// <param name="Seed">The job's seed.</param>
/// <param name="Step">The training step.</param>
/// <param name="Training">Whether layers behave as in training (dropout on) or as in use.</param>
public readonly record struct StepKey(ulong Seed, long Step, bool Training);
