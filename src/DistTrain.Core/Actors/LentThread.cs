namespace DistTrain.Core.Actors;

/// <summary>
/// A thread that only waits for messages from elsewhere and hands them on may carry what follows from them: an actor that is told
/// something by it, and has nothing else in hand, runs on it, where its options allow that. That saves waking another thread for each
/// message, which costs more than handling most.
/// </summary>
public static class LentThread
{
    [ThreadStatic]
    private static bool _isLent;

    /// <summary>Lends the calling thread, until it ends.</summary>
    public static void Lend() => _isLent = true;

    /// <summary>Takes the calling thread; false when it isn't lent, or taken already. <see cref="GiveBack"/> follows.</summary>
    public static bool TryTake()
    {
        if (!_isLent) return false;
        _isLent = false;
        return true;
    }

    /// <summary>Gives the calling thread back.</summary>
    public static void GiveBack() => _isLent = true;
}
