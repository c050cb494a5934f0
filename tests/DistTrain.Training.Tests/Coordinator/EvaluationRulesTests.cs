using DistTrain.Core;
using DistTrain.Core.Sharding;
using DistTrain.Optim;
using DistTrain.Training.Coordinator;

namespace DistTrain.Training.Tests.Coordinator;

/// <summary>Decisions after evaluations, as tables.</summary>
public class EvaluationRulesTests
{
    // Losses in hundredths of what is evaluated every 10 steps; where training ends, 0 for never; the best version.
    [Theory]
    [InlineData(2, 0.0, new[] { 90, 80, 70, 60 }, 0, 40)]
    [InlineData(2, 0.0, new[] { 90, 80, 85, 80, 70 }, 40, 20)]
    [InlineData(1, 0.0, new[] { 90, 91 }, 20, 10)]
    [InlineData(3, 0.0, new[] { 90, 91, 92, 89, 95, 95, 95 }, 70, 40)]
    [InlineData(2, 0.2, new[] { 90, 80, 69, 60, 55 }, 50, 30)]
    public void Loss_OfManyEvaluations_EndsAfterPatience(long patience, double change, int[] losses, long end, long best)
    {
        var rules = new EvaluationRules(new EarlyStopping(patience, change), null, 10);
        (EvaluationRecord record, long stopped) = Run(rules, losses.Select(l => Stats(l, 50)));
        Assert.Equal((end, best), (stopped, record.Best!.Version));
        Assert.Equal(losses[(best / 10) - 1] / 100.0, record.Best.Loss, 1e-12);
    }

    [Fact]
    public void Accuracy_ThatGetsNoHigher_EndsWhateverTheLoss()
    {
        var rules = new EvaluationRules(new EarlyStopping(2, 0, MonitoredFigure.Accuracy), null, 10);
        (EvaluationRecord record, long stopped) = Run(rules, [Stats(90, 50), Stats(80, 70), Stats(70, 70), Stats(60, 60)]);
        Assert.Equal((40L, new BestModel(20, 0.8, 0.7)), (stopped, record.Best!));
    }

    [Fact]
    public void Loss_ThatIsNoNumber_IsNeverTheBest()
    {
        var rules = new EvaluationRules(new EarlyStopping(3), null, 10);
        (EvaluationRecord record, long stopped) = Run(rules, [new(double.NaN, 1, 0, 1, 1), Stats(90, 1), new(double.NaN, 1, 0, 1, 1)]);
        Assert.Equal((0L, 20L, 1L), (stopped, record.Best!.Version, record.Since));
    }

    [Fact]
    public void Evaluation_ThatCameBefore_ChangesNothing()
    {
        var rules = new EvaluationRules(new EarlyStopping(3), new PlateauSchedule(0.5, 0), 10);
        EvaluationRecord once = rules.Next(EvaluationRecord.Empty, 10, Stats(90, 1));
        Assert.Same(once, rules.Next(once, 10, Stats(99, 1)));
    }

    [Fact]
    public void Plateau_AtAnEndWithinAnEpoch_DoesNotListen()
    {
        var rules = new EvaluationRules(null, new PlateauSchedule(0.5, 0), 10);
        EvaluationRecord record = rules.Next(EvaluationRecord.Empty, 10, Stats(90, 1));
        Assert.Equal(1, rules.Next(record, 15, Stats(95, 1)).Plateau.Factor);
        Assert.Equal(0.5, rules.Next(record, 20, Stats(95, 1)).Plateau.Factor);
        Assert.Null(record.Best);
    }

    [Fact]
    public void Begin_WithAnotherFigure_LooksForAnotherBest()
    {
        EvaluationRecord record = new EvaluationRules(new EarlyStopping(3), new PlateauSchedule(), 10).Next(EvaluationRecord.Empty, 10, Stats(90, 1));
        Assert.Equal(record, new EvaluationRules(new EarlyStopping(1), new PlateauSchedule(), 10).Begin(record));
        EvaluationRecord other = new EvaluationRules(new EarlyStopping(3, 0, MonitoredFigure.Accuracy), new PlateauSchedule(), 10).Begin(record);
        Assert.Equal((null, 10L, record.Plateau), (other.Best, other.Version, other.Plateau));
    }

    [Fact]
    public void Record_ThroughBytes_IsTheSame()
    {
        var record = new EvaluationRecord
        {
            Version = 70,
            Monitor = MonitoredFigure.Accuracy,
            Best = new BestModel(60, 0.1 + 0.2, double.NaN),
            Since = 1,
            Plateau = new PlateauState(0.1, 1.0 / 3, 2, 5),
        };
        Assert.Equal(record, EvaluationRecord.Parse(record.ToBytes()));
        EvaluationRecord none = record with { Best = null };
        Assert.Equal(none, EvaluationRecord.Parse(none.ToBytes()));
        Assert.Empty(EvaluationRecord.Empty.ToBytes());
        Assert.Equal(EvaluationRecord.Empty, EvaluationRecord.Parse(default));
    }

    [Fact]
    public void Record_OfSomethingElse_IsRefused()
    {
        byte[] bytes = (EvaluationRecord.Empty with { Version = 1 }).ToBytes();
        foreach (byte[] wrong in (byte[][])[bytes[..^1], [2, .. bytes[1..]], [1, 9, .. bytes[2..]]])
        {
            Assert.Equal(ExitCode.BadData, Assert.Throws<DistTrainException>(() => EvaluationRecord.Parse(wrong)).ExitCode);
        }
    }

    private static SegmentStats Stats(int loss, int correct) => new(loss, 100, correct, 100, 100);

    private static (EvaluationRecord Record, long Stopped) Run(EvaluationRules rules, IEnumerable<SegmentStats> evaluations)
    {
        (EvaluationRecord record, long version) = (rules.Begin(EvaluationRecord.Empty), 0);
        foreach (SegmentStats stats in evaluations)
        {
            record = rules.Next(record, version += 10, stats);
            if (rules.Stops(record)) return (record, version);
        }

        return (record, 0);
    }
}
