using DistTrain.Bench.Peers;
using DistTrain.Kernels;

namespace DistTrain.Bench;

/// <summary>Where a case puts its operands and its contenders. It owns the memory until the case is over.</summary>
public sealed unsafe class BenchSetup : IDisposable
{
    private readonly TorchProcess? _torch;
    private readonly CpuAffinity _affinity;
    private readonly List<NativeBuffer> _buffers = [];
    private readonly List<IDisposable> _owned = [];
    private readonly List<Contender> _peers = [];
    private readonly List<string> _missing = [];
    private readonly double _work;
    private KernelPool? _pool;

    internal BenchSetup(BenchCase measured, TorchProcess? torch, CpuAffinity affinity)
    {
        _work = measured.Work;
        _torch = torch;
        _affinity = affinity;
    }

    /// <summary>The pool of <see cref="Threads"/>; null for the caller alone.</summary>
    public KernelPool? Pool => _pool;

    internal Contender? Mine { get; private set; }

    internal IReadOnlyList<Contender> Peers => _peers;

    internal IReadOnlyList<string> Missing => _missing;

    /// <summary>Floats in [-0.5, 0.5), the same in each run.</summary>
    public float* Random(long length, int seed = 1)
    {
        float* p = Zeros(length);
        ulong state = (ulong)seed * 0x9E3779B97F4A7C15;
        for (long i = 0; i < length; i++)
        {
            state = (state * 6364136223846793005) + 1442695040888963407;
            p[i] = ((float)(state >> 40) / (1 << 24)) - 0.5f;
        }
        return p;
    }

    /// <summary>Floats of +0.</summary>
    public float* Zeros(long length)
    {
        var buffer = new NativeBuffer(length);
        _buffers.Add(buffer);
        return buffer.Pointer;
    }

    /// <summary>Keeps something until the case is over.</summary>
    public void Own(IDisposable owned) => _owned.Add(owned);

    /// <summary>Lets the case use several threads. None is pinned: the system places them on all cores of the process.</summary>
    public KernelPool Threads(int count)
    {
        _affinity.Release();
        return _pool = new KernelPool(count);
    }

    /// <summary>What is measured.</summary>
    public void Ours(Action call) => Mine = new LocalContender("disttrain", call, _work);

    /// <inheritdoc cref="Ours(Action)"/>
    public void Ours(Contender contender) => Mine = contender;

    /// <summary>A peer in this process; <paramref name="work"/> where its call does another amount than ours.</summary>
    public void Peer(string name, Action call, double? work = null) => _peers.Add(new LocalContender(name, call, work ?? _work));

    /// <summary>A peer that another part of the program measures.</summary>
    public void Peer(Contender peer) => _peers.Add(peer);

    /// <summary>The most fused multiply-adds that this processor does, at the vector width in use, on as many threads as <see cref="Pool"/> has.</summary>
    public void FmaPeak() => Peer("fma_peak", () => FmaPeakLoop.Run(_pool), FmaPeakLoop.Work * (_pool?.Threads ?? 1));

    /// <summary>OpenBLAS, where this machine has it.</summary>
    public void OpenBlas(Action call)
    {
        if (OpenBlasLibrary.Available(_pool?.Threads ?? 1)) Peer("openblas", call);
        else _missing.Add("openblas");
    }

    /// <summary>
    /// PyTorch with one thread in a process of its own. <paramref name="setup"/> runs once, <paramref name="call"/> is
    /// timed; both are Python, with <c>torch</c> and <c>F</c> (torch.nn.functional) there.
    /// </summary>
    /// <param name="setup">Statements that make the operands.</param>
    /// <param name="call">Statements that are timed.</param>
    /// <param name="name">The peer's name in the results, where there is more than one form.</param>
    public void Torch(string setup, string call, string name = "pytorch")
    {
        if (_torch is null) _missing.Add(name);
        else _peers.Add(new TorchContender(_torch, name, setup, call, _work));
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (NativeBuffer buffer in _buffers) buffer.Dispose();
        foreach (IDisposable owned in _owned) owned.Dispose();
        _pool?.Dispose();
        _torch?.Forget();
    }
}
