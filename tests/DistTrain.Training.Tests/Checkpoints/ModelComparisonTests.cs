using System.Collections.Immutable;
using DistTrain.Training.Checkpoints;

namespace DistTrain.Training.Tests.Checkpoints;

public class ModelComparisonTests
{
    [Theory]
    [InlineData("a:1,2 b:3", "a:1,2 b:3", null)]
    [InlineData("a:1,2 b:3", "b:3 a:1,2", null)]
    [InlineData("0.weight:10,64 0.bias:10", "0.weight:32,64 0.bias:10 2.bias:4", "tensor 0.weight is [10, 64] there, [32, 64] here; missing: 2.bias")]
    [InlineData("a:1 b:2", "a:1", "not in this model: b")]
    [InlineData("a:4", "a:2,2", "tensor a is [4] there, [2, 2] here")]
    [InlineData("", "a:1 b:1 c:1 d:1 e:1 f:1", "missing: a, b, c, d and 2 more")]
    public void Differences_OfTwoModels_AreNamed(string there, string here, string? expected) =>
        Assert.Equal(expected, ModelComparison.Differences(Parse(there), Parse(here)));

    private static IEnumerable<(string Name, ImmutableArray<int> Shape)> Parse(string text) =>
        text.Split(' ', StringSplitOptions.RemoveEmptyEntries)
            .Select(t => t.Split(':'))
            .Select(p => (p[0], p[1].Split(',').Select(int.Parse).ToImmutableArray()));
}
