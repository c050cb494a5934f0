using DistTrain.Core.Layout;
using DistTrain.Core.Messages;
using DistTrain.Training.Coordinator;

namespace DistTrain.Training.Tests.Coordinator;

public class NormsRoundTests
{
    // 2 blocks, 1 and 3.
    private static readonly ParameterLayout Layout = new([("a", [5000], TensorRole.Parameter), ("b", [7], TensorRole.Parameter), ("c", [12000], TensorRole.Parameter)]);

    private static NormsMeasured Report(int partition, long step, params float[] squares) => new(1, partition, step, [.. squares]);

    [Fact]
    public void Take_TheLastReportOfAStep_GivesEachTensorsSum()
    {
        var one = new NormsRound(Layout, 1);
        Assert.Equal([3, 4, 18], one.Take(Report(0, 0, 1, 2, 4, 5, 6, 7))!.Value.AsEnumerable());
        // A tensor that lies in two partitions, reports in any order, one of them twice.
        var three = new NormsRound(Layout, 3);
        Assert.Null(three.Take(Report(2, 0, 6, 7)));
        Assert.Null(three.Take(Report(0, 0, 1)));
        Assert.Null(three.Take(Report(0, 0, 9)));
        Assert.Equal([3, 4, 18], three.Take(Report(1, 0, 2, 4, 5))!.Value.AsEnumerable());
    }

    [Fact]
    public void Take_TwoVectors_GivesOneBehindTheOther()
    {
        var round = new NormsRound(Layout, 2, vectors: 2);
        Assert.Null(round.Take(Report(1, 0, 2, 4, 5, 6, 7, 20, 40, 50, 60, 70)));
        Assert.Equal([3, 4, 18, 30, 40, 180], round.Take(Report(0, 0, 1, 10))!.Value.AsEnumerable());
        // A report that can't be two vectors.
        Assert.Null(round.Take(Report(0, 1, 1, 10, 3)));
        Assert.Null(round.Take(Report(1, 1, 2, 4, 5, 6, 7, 20, 40, 50, 60, 70)));
    }

    [Fact]
    public void Take_ReportsOfAnEarlierStepOrOfAnotherLength_GivesNothing()
    {
        var round = new NormsRound(Layout, 2);
        Assert.Null(round.Take(Report(0, 1, 1, 2, 4)));
        Assert.Null(round.Take(Report(1, 0, 5, 6, 7)));
        Assert.Null(round.Take(Report(1, 1, 5, 6)));
        Assert.Null(round.Take(Report(0, 2, 1, 2, 4)));
        Assert.Equal([3, 4, 18], round.Take(Report(1, 2, 5, 6, 7))!.Value.AsEnumerable());
    }
}
