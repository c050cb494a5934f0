using DistTrain.Core;
using DistTrain.Kernels;

namespace DistTrain.Bench;

/// <summary>
/// Keeps the calling thread on one core while it measures (Linux; elsewhere nothing happens). It remembers the cores
/// that the thread had when this was made.
/// </summary>
internal sealed class CpuAffinity : IDisposable
{
    private readonly CoreSet? _all = CoreSet.Supported ? CoreSet.OfCurrentThread() : null;
    private readonly int _core;

    /// <summary>Takes the core to pin to; negative for none.</summary>
    /// <exception cref="DistTrainException">This process may not use it.</exception>
    public CpuAffinity(int core)
    {
        if (core >= 0 && _all is not null && !_all.Contains(core))
            throw new DistTrainException(ExitCode.BadUsage, $"--core {core}: this process may use cores {_all}");
        _core = core;
    }

    /// <summary>Pins the calling thread, and threads and processes that it starts from now on.</summary>
    public void Pin()
    {
        if (_core < 0) Release();
        else if (CoreSet.Supported) CoreSet.PinCurrentThread(_core);
    }

    /// <summary>Gives the thread all its cores back.</summary>
    public void Release() => _all?.ConfineCurrentThread();

    /// <inheritdoc/>
    public void Dispose() => Release();
}
