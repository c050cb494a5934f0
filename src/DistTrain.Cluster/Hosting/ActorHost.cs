using System.Collections.Concurrent;
using DistTrain.Core.Actors;

namespace DistTrain.Cluster.Hosting;

/// <summary>
/// The built-in actor host: a bounded mailbox on System.Threading.Channels for each actor, one message at a time.
/// </summary>
/// <param name="time">The clock that asks take their deadlines from.</param>
/// <param name="log">Takes a line for each dead letter and restart.</param>
public sealed class ActorHost(TimeProvider time, Action<string> log) : IActorHost
{
    private readonly ConcurrentDictionary<string, ActorCell> _cells = new(StringComparer.Ordinal);
    private readonly TaskCompletionSource<ActorFailure> _failure = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private long _deadLetters;
    private volatile bool _disposing;

    /// <inheritdoc/>
    public Task<ActorFailure> Failure => _failure.Task;

    /// <summary>Messages that found no reader so far.</summary>
    public long DeadLetters => Interlocked.Read(ref _deadLetters);

    internal TimeProvider Time => time;

    /// <inheritdoc/>
    public IActorRef Spawn(string name, Func<IActor> factory, ActorOptions? options = null)
    {
        var cell = new ActorCell(this, "/" + name, factory, options ?? new ActorOptions());
        if (!_cells.TryAdd(cell.Path, cell)) throw new InvalidOperationException($"there is an actor {cell.Path} already");
        cell.Start();
        return cell;
    }

    /// <inheritdoc/>
    public async Task StopAsync(IActorRef actor)
    {
        if (!_cells.TryRemove(actor.Path, out ActorCell? cell)) return;
        await cell.StopAsync();
    }

    /// <summary>Stops all actors and waits for their last messages.</summary>
    public async ValueTask DisposeAsync()
    {
        _disposing = true;
        foreach (ActorCell cell in _cells.Values) await StopAsync(cell);
    }

    // Repeats are counted, not printed: a stopped actor may still be told thousands of messages.
    internal void DeadLetter(IActorRef to, object message, string why)
    {
        long count = Interlocked.Increment(ref _deadLetters);
        if (_disposing) return;
        if (count <= 10 || long.IsPow2(count)) log($"dead letter {count}: {message.GetType().Name} to {to.Path}: {why}");
    }

    internal void Restarted(IActorRef actor, string message, Exception cause) =>
        log($"{actor.Path} failed at {message} and was restarted: {cause.Message}");

    internal void Failed(ActorFailure failure) => _failure.TrySetResult(failure);
}
