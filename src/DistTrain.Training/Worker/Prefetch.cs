using System.Runtime.ExceptionServices;
using DistTrain.Data;
using DistTrain.Kernels;

namespace DistTrain.Training.Worker;

/// <summary>
/// Gathers the next step's rows on a thread of its own while a step computes. What it holds is copied out when its step
/// comes, which costs little beside gathering and augmenting; rows that it doesn't hold are gathered by the caller, so it
/// changes no bits. One caller; allocates nothing once made.
/// </summary>
internal sealed unsafe class Prefetch : IDisposable
{
    private readonly object _gate = new();
    private readonly BatchSource _source;
    private readonly IDataset _train;
    private readonly NativeBuffer _inputs;
    private readonly NativeBuffer _targets;
    private readonly ulong[] _digests;
    private readonly Thread _thread;
    private State _state;
    private long _step;
    private ShardRows? _rows;
    private ExceptionDispatchInfo? _failure;

    /// <summary>Starts the thread.</summary>
    /// <param name="source">Its own: the caller must not use it.</param>
    /// <param name="train">The training examples.</param>
    /// <param name="shards">Shards of a mini-batch.</param>
    public Prefetch(BatchSource source, IDataset train, int shards)
    {
        (_source, _train, _digests) = (source, train, new ulong[shards]);
        _inputs = new NativeBuffer((long)source.MaxRows * train.FeatureCount);
        _targets = new NativeBuffer((long)source.MaxRows * source.Target.PerRow);
        _thread = new Thread(Run) { IsBackground = true, Name = "prefetch" };
        _thread.Start();
    }

    private enum State
    {
        Idle,
        Gathering,
        Ready,
        Ended,
    }

    /// <summary>Begins to gather the rows of a step.</summary>
    public void Begin(long step, ShardRows rows)
    {
        lock (_gate)
        {
            WaitWhileGathering();
            (_step, _rows, _failure, _state) = (step, rows, null, State.Gathering);
            Monitor.PulseAll(_gate);
        }
    }

    /// <summary>Copies the rows of a step out, where they are those that it was told to gather.</summary>
    public bool TryTake(long step, ShardRows rows, float* inputs, int* labels, float* targets, Span<ulong> digests)
    {
        lock (_gate)
        {
            if (_rows != rows || _step != step) return false;
            WaitWhileGathering();
            _rows = null;
        }

        _failure?.Throw();
        _digests.AsSpan(0, rows.Shards.Count).CopyTo(digests);
        Copy(_inputs.Pointer, inputs, (long)rows.Rows * _train.FeatureCount);
        // Labels are as wide as targets: four bytes.
        float* wanted = _source.Target.Kind == TargetKind.ClassLabel ? (float*)labels : targets;
        Copy(_targets.Pointer, wanted, (long)rows.Rows * _source.Target.PerRow);
        return true;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        lock (_gate)
        {
            WaitWhileGathering();
            _state = State.Ended;
            Monitor.PulseAll(_gate);
        }

        _thread.Join();
        _inputs.Dispose();
        _targets.Dispose();
    }

    private static void Copy(float* from, float* to, long length) => Buffer.MemoryCopy(from, to, length * sizeof(float), length * sizeof(float));

    private void WaitWhileGathering()
    {
        while (_state == State.Gathering) Monitor.Wait(_gate);
    }

    private void Run()
    {
        while (true)
        {
            lock (_gate)
            {
                while (_state is State.Idle or State.Ready) Monitor.Wait(_gate);
                if (_state == State.Ended) return;
            }

            Gather();
            lock (_gate)
            {
                _state = State.Ready;
                Monitor.PulseAll(_gate);
            }
        }
    }

    // A failure belongs to whoever takes the rows: on this thread it would end the process without its name.
    private void Gather()
    {
        try
        {
            _source.Gather(_step, _rows!, _inputs.Pointer, (int*)_targets.Pointer, _targets.Pointer, _digests);
        }
#pragma warning disable CA1031 // Whatever it is, it is thrown again by TryTake.
        catch (Exception e)
#pragma warning restore CA1031
        {
            _failure = ExceptionDispatchInfo.Capture(e);
        }
    }
}
