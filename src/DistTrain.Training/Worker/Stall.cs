using DistTrain.Core.Tracing;

namespace DistTrain.Training.Worker;

/// <summary>The time in which a worker has nothing to compute, as a trace shows it.</summary>
internal sealed class Stall(TraceRecorder? trace)
{
    private TraceName _name;
    private long _step;
    private long _began;

    /// <summary>Whether anybody looks.</summary>
    public bool IsTraced => trace is not null;

    /// <summary>The worker waits from now on, if it didn't already, and this is what for.</summary>
    public void Begin(TraceName name, long step)
    {
        if (trace is null) return;
        // What it waited for before has come, but was not enough.
        if (_began != 0 && (name != _name || step != _step)) End();
        if (_began == 0) (_name, _step, _began) = (name, step, trace.Begin());
    }

    /// <summary>The worker computes.</summary>
    public void End()
    {
        if (_began == 0) return;
        trace.End(_name, _began, _step);
        _began = 0;
    }
}
