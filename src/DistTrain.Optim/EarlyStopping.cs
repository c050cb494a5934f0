namespace DistTrain.Optim;

/// <summary>A figure of an evaluation.</summary>
public enum MonitoredFigure
{
    /// <summary>The mean test loss, which is to fall.</summary>
    Loss,

    /// <summary>The share of right answers, which is to rise.</summary>
    Accuracy,
}

/// <summary>Training ends when evaluations get no better, and the best evaluated version is the result.</summary>
/// <param name="Patience">Evaluations in a row without a better one after which training ends, at least 1.</param>
/// <param name="MinimumChange">How much better than the best one an evaluation must be to count, at least 0.</param>
/// <param name="Monitor">The figure.</param>
public sealed record EarlyStopping(long Patience = 5, double MinimumChange = 0, MonitoredFigure Monitor = MonitoredFigure.Loss)
{
    /// <summary>Whether an evaluation is better than the best one so far; what is not a number never is.</summary>
    public bool IsBetter(BestModel candidate, BestModel? best) => Monitor switch
    {
        MonitoredFigure.Loss => candidate.Loss < (best is null ? double.PositiveInfinity : best.Loss - MinimumChange),
        _ => candidate.Accuracy > (best is null ? double.NegativeInfinity : best.Accuracy + MinimumChange),
    };
}

/// <summary>The best evaluated version.</summary>
/// <param name="Version">The model version.</param>
/// <param name="Loss">Its mean test loss.</param>
/// <param name="Accuracy">Its share of right answers; NaN where that has no meaning.</param>
public sealed record BestModel(long Version, double Loss, double Accuracy);
