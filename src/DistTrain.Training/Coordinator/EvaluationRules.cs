using DistTrain.Core.Sharding;
using DistTrain.Optim;

namespace DistTrain.Training.Coordinator;

/// <summary>
/// What a job makes of its evaluations. Pure: they come at fixed versions with the same bits on any cluster, so what follows
/// from them is the same everywhere too.
/// </summary>
/// <param name="EarlyStopping">When training ends early; null for never.</param>
/// <param name="Plateau">How the rate falls; null where it doesn't listen to evaluations.</param>
/// <param name="StepsPerEpoch">Mini-batches an epoch.</param>
public sealed record EvaluationRules(EarlyStopping? EarlyStopping, PlateauSchedule? Plateau, long StepsPerEpoch)
{
    /// <summary>What a run begins with that goes on from a checkpoint with this record.</summary>
    public EvaluationRecord Begin(EvaluationRecord record) => record with
    {
        // A best of another figure says nothing of this one.
        Best = EarlyStopping?.Monitor == record.Monitor ? record.Best : null,
        Since = EarlyStopping?.Monitor == record.Monitor ? record.Since : 0,
        Monitor = EarlyStopping?.Monitor ?? MonitoredFigure.Loss,
        Plateau = Plateau is null ? PlateauState.Start : record.Plateau,
    };

    /// <summary>What follows from one more evaluation; nothing from one that has been counted.</summary>
    public EvaluationRecord Next(EvaluationRecord before, long version, SegmentStats stats)
    {
        if (version <= before.Version) return before;
        EvaluationRecord next = before with { Version = version };
        if (EarlyStopping is not null)
        {
            var candidate = new BestModel(version, stats.MeanLoss, stats.Accuracy);
            next = EarlyStopping.IsBetter(candidate, before.Best)
                ? next with { Best = candidate, Since = 0 }
                : next with { Since = before.Since + 1 };
        }

        // The evaluation at an end within an epoch would not have been in a longer training: its weights must not show it.
        return Plateau is null || version % StepsPerEpoch != 0 ? next : next with { Plateau = Plateau.Next(before.Plateau, stats.MeanLoss) };
    }

    /// <summary>Whether training ends with this.</summary>
    public bool Stops(EvaluationRecord record) => EarlyStopping is not null && record.Since >= EarlyStopping.Patience;
}
