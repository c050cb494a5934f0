namespace DistTrain.Training.ParameterServer;

/// <summary>
/// Which of a worker's segments of one bucket the server is done with, by their numbers. They may come in any order: channels have more
/// ways than one.
/// </summary>
internal sealed class TakenSegments
{
    // More than a worker has under way at once.
    private const int Most = 128;

    private UInt128 _ahead;
    private long _below;

    /// <summary>All with a lower number are done with; read by any thread.</summary>
    public long Below => Volatile.Read(ref _below);

    /// <summary>One more is done with; and the worker doesn't ask for those below <paramref name="oldest"/>.</summary>
    public void Add(long number, long oldest)
    {
        long below = _below;
        if (oldest > below)
        {
            _ahead = oldest - below < Most ? _ahead >> (int)(oldest - below) : 0;
            below = oldest;
        }

        if (number >= below && number - below < Most) _ahead |= UInt128.One << (int)(number - below);
        for (; (_ahead & UInt128.One) != 0; below++) _ahead >>= 1;
        Volatile.Write(ref _below, below);
    }
}
