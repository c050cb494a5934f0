using System.Runtime.CompilerServices;
using System.Runtime.ExceptionServices;

namespace DistTrain.Kernels;

/// <summary>
/// A fork-join pool for regions of a few microseconds: the caller works too, idle workers spin briefly and then park.
/// <see cref="Run"/> allocates nothing. Threads split outputs, never a reduction, so results do not depend on
/// <see cref="Threads"/> (invariant I1).
/// </summary>
/// <remarks>
/// A region that starts while another runs on the same pool (nested, or from a second thread) runs on its caller alone.
/// Every part carries the region's generation in the ticket that claims it, so a worker that wakes late can't touch a
/// region that is over.
/// </remarks>
public sealed unsafe class KernelPool : IDisposable
{
    private const int SpinRounds = 2_000;
    private const int MaxParts = 0xFFFF;

    private readonly Worker[] _workers;

    // The open region. The ticket packs generation (32 bits), parts (16) and the next unclaimed part (16).
    private long _ticket;
    private int _pending;
    private int _busy;
    private void* _body;
    private delegate*<void*, int, void> _invoke;
    private Exception? _failure;
    private volatile bool _stopping;

    /// <summary>Starts a pool of <paramref name="threads"/> threads, the caller's own included.</summary>
    /// <param name="threads">How many threads.</param>
    /// <param name="pin">
    /// The cores of the threads; thread 0 is whoever calls <see cref="Run"/> and pins itself, with
    /// <see cref="CoreSet.PinCurrentThread"/>. Null lets the system move them.
    /// </param>
    /// <exception cref="ArgumentOutOfRangeException">Fewer than one thread.</exception>
    /// <exception cref="ArgumentException">Fewer cores than threads, or this process may not use one of them.</exception>
    /// <exception cref="PlatformNotSupportedException">Cores are named where threads can't be pinned.</exception>
    public KernelPool(int threads, CoreSet? pin = null)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(threads, 1);
        if (pin is not null && pin.Count < threads)
            throw new ArgumentException($"{threads} threads need as many cores; there are {pin.Count}: {pin}.", nameof(pin));
        Threads = threads;
        _workers = new Worker[threads - 1];
        for (int i = 0; i < _workers.Length; i++) _workers[i] = new Worker(this, i + 1, pin?[i + 1]);
        if (pin is null || Array.Find(_workers, w => w.PinFailure is not null) is not { } failed) return;
        Dispose();
        ExceptionDispatchInfo.Throw(failed.PinFailure!);
    }

    /// <summary>The pool without workers: everything runs on the caller. It needs no disposal.</summary>
    public static KernelPool Single { get; } = new(1);

    /// <summary>How many threads work on a region, the caller included.</summary>
    public int Threads { get; }

    /// <summary>
    /// Runs parts 0 to <paramref name="parts"/>-1 of <paramref name="body"/> and returns when all are done. Each part
    /// runs once; the body that the parts see is one copy.
    /// </summary>
    /// <exception cref="Exception">The first exception that a part threw, after all parts ended.</exception>
    /// <exception cref="ArgumentOutOfRangeException">More than 65,535 parts.</exception>
    public void Run<TBody>(int parts, TBody body)
        where TBody : unmanaged, IParallelBody
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThan(parts, MaxParts);
        if (_workers.Length == 0 || parts <= 1 || Interlocked.Exchange(ref _busy, 1) != 0)
        {
            Alone(parts, ref body);
            return;
        }
        try
        {
            ObjectDisposedException.ThrowIf(_stopping, this);
            Fork(parts, &body, &Invoke<TBody>);
        }
        finally
        {
            Volatile.Write(ref _busy, 0);
        }
    }

    /// <summary>Ends the workers. No region may be running. Once more does nothing.</summary>
    public void Dispose()
    {
        if (_stopping) return;
        _stopping = true;
        foreach (Worker worker in _workers) worker.Stop();
    }

    private static void Invoke<TBody>(void* body, int part)
        where TBody : unmanaged, IParallelBody => ((TBody*)body)->Run(part);

    private static void Alone<TBody>(int parts, ref TBody body)
        where TBody : unmanaged, IParallelBody
    {
        Exception? first = null;
        for (int part = 0; part < parts; part++)
        {
            try
            {
                body.Run(part);
            }
            catch (Exception failure)
            {
                first ??= failure;
            }
        }
        if (first is not null) ExceptionDispatchInfo.Throw(first);
    }

    private void Fork(int parts, void* body, delegate*<void*, int, void> invoke)
    {
        _body = body;
        _invoke = invoke;
        _failure = null;
        _pending = parts;
        long generation = (Volatile.Read(ref _ticket) >>> 32) + 1;
        Interlocked.Exchange(ref _ticket, (generation << 32) | ((long)parts << 16));
        int helpers = Math.Min(parts - 1, _workers.Length);
        for (int i = 0; i < helpers; i++) _workers[i].Wake();
        Work();
        var spin = default(SpinWait);
        // Workers finish parts of about equal size, so this is short unless the machine is overcommitted: then yield.
        for (int round = 0; Volatile.Read(ref _pending) != 0; round++)
        {
            if (round < SpinRounds) Thread.SpinWait(8);
            else spin.SpinOnce(sleep1Threshold: -1);
        }
        if (_failure is { } failure) ExceptionDispatchInfo.Throw(failure);
    }

    /// <summary>Claims and runs parts of the open region until none is left.</summary>
    private void Work()
    {
        while (true)
        {
            long ticket = Volatile.Read(ref _ticket);
            int next = (int)(ticket & MaxParts);
            if (next >= (int)((ticket >>> 16) & MaxParts)) return;
            if (Interlocked.CompareExchange(ref _ticket, ticket + 1, ticket) != ticket) continue;
            // The claimed part keeps the region open, so its body is still there.
            try
            {
                _invoke(_body, next);
            }
            catch (Exception failure)
            {
                Interlocked.CompareExchange(ref _failure, failure, null);
            }
            Interlocked.Decrement(ref _pending);
        }
    }

    private bool HasWork()
    {
        long ticket = Volatile.Read(ref _ticket);
        return (ticket & MaxParts) < ((ticket >>> 16) & MaxParts);
    }

    /// <summary>One thread of the pool, and the event it parks on.</summary>
    private sealed class Worker
    {
        private readonly KernelPool _pool;
        private readonly AutoResetEvent _wake = new(initialState: false);
        private readonly Thread _thread;
        private int _parked;

        public Worker(KernelPool pool, int index, int? core)
        {
            _pool = pool;
            using var started = core is null ? null : new ManualResetEventSlim();
            _thread = new Thread(() => Start(core, started)) { IsBackground = true, Name = $"kernel-{index}" };
            _thread.Start();
            started?.Wait();
        }

        /// <summary>Why the thread could not be pinned.</summary>
        public Exception? PinFailure { get; private set; }

        /// <summary>Wakes the thread if it is parked. A full fence lies between opening the region and this read.</summary>
        public void Wake()
        {
            if (Volatile.Read(ref _parked) != 0 && Interlocked.Exchange(ref _parked, 0) != 0) _wake.Set();
        }

        public void Stop()
        {
            _wake.Set();
            _thread.Join();
            _wake.Dispose();
        }

        private void Start(int? core, ManualResetEventSlim? started)
        {
            try
            {
                if (core is { } pinned) CoreSet.PinCurrentThread(pinned);
            }
            catch (Exception failure) when (failure is ArgumentException or PlatformNotSupportedException)
            {
                PinFailure = failure;
            }
            started?.Set();
            Loop();
        }

        private void Loop()
        {
            while (!_pool._stopping)
            {
                if (SpinForWork()) _pool.Work();
                else Park();
            }
        }

        private bool SpinForWork()
        {
            for (int round = 0; round < SpinRounds; round++)
            {
                if (_pool.HasWork()) return true;
                Thread.SpinWait(8);
            }
            return false;
        }

        // Announce first, look again, then sleep: a region opened in between is either seen here or sets the event.
        private void Park()
        {
            Interlocked.Exchange(ref _parked, 1);
            if (_pool.HasWork() || _pool._stopping)
            {
                Volatile.Write(ref _parked, 0);
                return;
            }
            _wake.WaitOne();
        }
    }
}
