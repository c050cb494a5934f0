namespace DistTrain.Training.Coordinator;

/// <summary>
/// How far ahead steps are granted: as many as take about a tenth of a second, so that short steps don't cost a message to
/// every member each, and Ctrl-C, which waits for what is granted, isn't kept waiting by long ones.
/// </summary>
internal sealed class GrantPace(TimeProvider time)
{
    private const int Most = 64;

    private static readonly TimeSpan Ahead = TimeSpan.FromMilliseconds(100);

    private long _last = -1;
    private double _seconds;

    /// <summary>Steps to grant ahead of the last commit.</summary>
    public int Window { get; private set; } = StepClock.Window;

    /// <summary>A step was committed.</summary>
    public void Committed()
    {
        long now = time.GetTimestamp(), last = _last;
        _last = now;
        if (last < 0) return;
        double seconds = time.GetElapsedTime(last, now).TotalSeconds;
        _seconds = _seconds == 0 ? seconds : _seconds + (0.1 * (seconds - _seconds));
        Window = (int)Math.Clamp(Ahead.TotalSeconds / Math.Max(_seconds, 1e-6), StepClock.Window, Most);
    }
}
