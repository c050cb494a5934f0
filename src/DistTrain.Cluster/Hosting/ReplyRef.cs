using DistTrain.Core.Actors;

namespace DistTrain.Cluster.Hosting;

/// <summary>The sender that an ask presents: it takes one answer.</summary>
internal sealed class ReplyRef<T>(string path) : IActorRef
{
    private readonly TaskCompletionSource<T> _answer = new(TaskCreationOptions.RunContinuationsAsynchronously);

    public string Path => path;

    public Task<T> Answer => _answer.Task;

    public void Tell(object message, IActorRef? sender = null)
    {
        if (message is T answer) _answer.TrySetResult(answer);
        else _answer.TrySetException(new InvalidOperationException($"{path} expected {typeof(T).Name}, got {message.GetType().Name}"));
    }

    public ValueTask TellAsync(object message, IActorRef? sender = null, CancellationToken cancellation = default)
    {
        Tell(message, sender);
        return ValueTask.CompletedTask;
    }

    public Task<TAnswer> AskAsync<TAnswer>(object message, TimeSpan deadline, CancellationToken cancellation = default) =>
        throw new InvalidOperationException($"{path} is an answer's address: it can't be asked");
}
