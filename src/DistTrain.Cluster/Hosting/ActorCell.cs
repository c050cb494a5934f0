using System.Threading.Channels;
using DistTrain.Core.Actors;

namespace DistTrain.Cluster.Hosting;

/// <summary>One actor: its mailbox, its instance and the loop that feeds one message at a time.</summary>
internal sealed class ActorCell : IActorRef, IActorContext
{
    private readonly ActorHost _host;
    private readonly Func<IActor> _factory;
    private readonly ActorOptions _options;
    private readonly Channel<Envelope> _mailbox;
    private readonly CancellationTokenSource _stopping = new();
    private readonly TaskCompletionSource _stopped = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private IActor _actor;
    private int _restarts;

    public ActorCell(ActorHost host, string path, Func<IActor> factory, ActorOptions options)
    {
        (_host, Path, _factory, _options) = (host, path, factory, options);
        _actor = factory();
        _mailbox = Channel.CreateBounded<Envelope>(new BoundedChannelOptions(options.MailboxCapacity) { SingleReader = true });
        Stopping = _stopping.Token;
    }

    public string Path { get; }

    public IActorRef Self => this;

    public IActorRef? Sender { get; private set; }

    public CancellationToken Stopping { get; }

    public Task Stopped => _stopped.Task;

    public void Start()
    {
        if (_options.DedicatedThread)
        {
            new Thread(() => RunAsync().GetAwaiter().GetResult()) { IsBackground = true, Name = Path }.Start();
        }
        else
        {
            _ = Task.Run(RunAsync);
        }
    }

    public void Tell(object message, IActorRef? sender = null)
    {
        if (!_mailbox.Writer.TryWrite(new(message, sender))) _host.DeadLetter(this, message, Stopping.IsCancellationRequested ? "it has stopped" : "its mailbox is full");
    }

    public async ValueTask TellAsync(object message, IActorRef? sender = null, CancellationToken cancellation = default)
    {
        try
        {
            await _mailbox.Writer.WriteAsync(new(message, sender), cancellation);
        }
        catch (ChannelClosedException)
        {
            _host.DeadLetter(this, message, "it has stopped");
        }
    }

    public async Task<T> AskAsync<T>(object message, TimeSpan deadline, CancellationToken cancellation = default)
    {
        var reply = new ReplyRef<T>($"{Path}/ask");
        using var timer = new CancellationTokenSource(deadline, _host.Time);
        using var either = CancellationTokenSource.CreateLinkedTokenSource(timer.Token, cancellation);
        try
        {
            await TellAsync(message, reply, either.Token);
            Task first = await Task.WhenAny(reply.Answer, Stopped).WaitAsync(either.Token);
            if (first == Stopped && !reply.Answer.IsCompleted) throw new InvalidOperationException($"{Path} stopped before it answered {message.GetType().Name}");
            return await reply.Answer;
        }
        catch (OperationCanceledException late) when (timer.IsCancellationRequested && !cancellation.IsCancellationRequested)
        {
            throw new TimeoutException($"{Path} did not answer {message.GetType().Name} within {deadline.TotalSeconds:0.###} s", late);
        }
    }

    public Task StopAsync()
    {
        _stopping.Cancel();
        _mailbox.Writer.TryComplete();
        return Stopped;
    }

    private async Task RunAsync()
    {
        try
        {
            while (!Stopping.IsCancellationRequested && await WaitAsync())
            {
                while (!Stopping.IsCancellationRequested && _mailbox.Reader.TryRead(out Envelope envelope))
                {
                    if (!await HandleAsync(envelope)) return;
                }
            }
        }
        finally
        {
            _mailbox.Writer.TryComplete();
            while (_mailbox.Reader.TryRead(out Envelope left)) _host.DeadLetter(this, left.Message, "it has stopped");
            (_actor as IDisposable)?.Dispose();
            _stopped.TrySetResult();
        }
    }

    // A dedicated thread blocks here, so that handlers that complete synchronously stay on it.
    private ValueTask<bool> WaitAsync()
    {
        ValueTask<bool> wait = _mailbox.Reader.WaitToReadAsync(CancellationToken.None);
        return _options.DedicatedThread && !wait.IsCompleted ? new(wait.AsTask().GetAwaiter().GetResult()) : wait;
    }

    private async ValueTask<bool> HandleAsync(Envelope envelope)
    {
        Sender = envelope.Sender;
        try
        {
            ValueTask handling = _actor.ReceiveAsync(envelope.Message, this);
            if (_options.DedicatedThread && !handling.IsCompleted) handling.AsTask().GetAwaiter().GetResult();
            else await handling;
            _restarts = 0;
            return true;
        }
        catch (OperationCanceledException) when (Stopping.IsCancellationRequested)
        {
            return false;
        }
        catch (Exception cause)
        {
            string message = envelope.Message.GetType().Name;
            if (_options.OnFailure == OnFailure.Restart && _restarts++ < _options.MaxRestarts)
            {
                _host.Restarted(this, message, cause);
                (_actor as IDisposable)?.Dispose();
                _actor = _factory();
                return true;
            }

            _stopping.Cancel();
            _host.Failed(new ActorFailure(Path, message, cause));
            return false;
        }
    }

    private readonly record struct Envelope(object Message, IActorRef? Sender);
}
