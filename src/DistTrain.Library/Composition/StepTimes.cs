namespace DistTrain.Composition;

/// <summary>
/// How long steps take, by when the coordinator hears of their commits. It hears of short ones several at once, and between them of
/// none: their time is that of all those of a moment, shared out.
/// </summary>
internal sealed class StepTimes
{
    /// <summary>The shortest time that is told apart.</summary>
    private const double Moment = 0.02;

    private readonly List<double> _seconds = [];
    private double _open;
    private int _steps;

    /// <summary>Whether no step was timed.</summary>
    public bool IsEmpty => _seconds.Count == 0 && _steps == 0;

    /// <summary>Seconds of all steps.</summary>
    public double Sum => _seconds.Sum() + _open;

    /// <summary>A step was committed so many seconds after the one before.</summary>
    public void Add(double seconds)
    {
        _open += seconds;
        _steps++;
        if (_open < Moment) return;
        _seconds.AddRange(Enumerable.Repeat(_open / _steps, _steps));
        (_open, _steps) = (0, 0);
    }

    /// <summary>Seconds of a step: half of them took no longer.</summary>
    public double Median()
    {
        List<double> sorted = [.. _seconds.Concat(Enumerable.Repeat(_open / Math.Max(1, _steps), _steps)).Order()];
        int middle = sorted.Count / 2;
        return sorted.Count % 2 == 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
    }

    /// <summary>Seconds of a step in the mean.</summary>
    public double Mean() => Sum / (_seconds.Count + _steps);
}
