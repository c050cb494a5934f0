using DistTrain.Optim;

namespace DistTrain.Training.ParameterServer;

/// <summary>How a partition changes by a reduced gradient: handed to the server, which only is the mechanism.</summary>
/// <param name="Optimizer">The element-wise update.</param>
/// <param name="StateVectors">Names of the vectors that it keeps beside the weights, each as long as they.</param>
/// <param name="LearningRate">The rate of a step, from 0, as a function of the step alone.</param>
public sealed record UpdateRule(IOptimizer Optimizer, IReadOnlyList<string> StateVectors, Func<long, double> LearningRate);
