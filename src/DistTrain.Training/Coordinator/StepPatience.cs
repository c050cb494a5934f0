namespace DistTrain.Training.Coordinator;

/// <summary>
/// How long steps take, and whether the one in hand takes too long: longer than three times the median of the last ones, and than a
/// twentieth of a second. Backup workers (Chen et al. 2016, "Revisiting distributed synchronous SGD") start from the same observation.
/// </summary>
internal sealed class StepPatience(TimeProvider time)
{
    // Fewer tell nothing: first steps are slow, because code is compiled.
    private const int Fewest = 5;
    private const int Most = 20;
    private const double Factor = 3;

    private static readonly TimeSpan Least = TimeSpan.FromMilliseconds(50);
    private static readonly TimeSpan LeastOfTheFirst = TimeSpan.FromSeconds(1);

    private readonly double[] _seconds = new double[Most];
    private readonly double[] _sorted = new double[Most];
    private long _known;
    private long _since;
    private TimeSpan? _wait;

    /// <summary>What is in hand: a step, or a version that is evaluated; -1 for nothing.</summary>
    public long InHand { get; private set; } = -1;

    /// <summary>A step may be computed from now on. Of one that may already, this changes nothing.</summary>
    public void Begin(long step)
    {
        if (step == InHand) return;
        (InHand, _since, _wait) = (step, time.GetTimestamp(), null);
    }

    /// <summary>The step in hand is done; how long it took counts when it was a step like others.</summary>
    public void Done(bool counts = true)
    {
        if (InHand >= 0 && counts) _seconds[_known++ % Most] = time.GetElapsedTime(_since).TotalSeconds;
        InHand = -1;
    }

    /// <summary>
    /// True when what is in hand takes too long. What this many typical steps would take is allowed for; an evaluation goes over many examples.
    /// What is the first of its kind takes longer by itself, because code is compiled for it.
    /// </summary>
    public bool IsOverdue(double steps = 1, bool first = false)
    {
        if (InHand < 0 || _known < Fewest) return false;
        _wait ??= Longer(TimeSpan.FromSeconds(Factor * steps * Median()), first ? LeastOfTheFirst : Least);
        return time.GetElapsedTime(_since) > _wait;
    }

    /// <summary>Something was done about it: the next time it is overdue after twice as long.</summary>
    public void WaitOn() => _wait = Longer(time.GetElapsedTime(_since), Least) * 2;

    private double Median()
    {
        int count = (int)Math.Min(_known, Most);
        Array.Copy(_seconds, _sorted, count);
        Array.Sort(_sorted, 0, count);
        return _sorted[count / 2];
    }

    private static TimeSpan Longer(TimeSpan a, TimeSpan b) => a > b ? a : b;
}
