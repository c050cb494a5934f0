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
    // No spinning: it would take a core from those who compute.
    private readonly ManualResetEventSlim _work = new(false, spinCount: 0);
    private IActor _actor;
    private int _busy;
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
        if (_options.DedicatedThread) new Thread(RunOnOwnThread) { IsBackground = true, Name = Path }.Start();
    }

    public void Tell(object message, IActorRef? sender = null)
    {
        if (_mailbox.Writer.TryWrite(new(message, sender, IsLent: false))) Schedule();
        else _host.DeadLetter(this, message, Stopping.IsCancellationRequested ? "it has stopped" : "its mailbox is full");
    }

    public ValueTask TellAsync(object message, IActorRef? sender = null, CancellationToken cancellation = default)
    {
        bool lent = _options.OnLentThreads && LentThread.TryTake();
        try
        {
            var envelope = new Envelope(message, sender, lent);
            if (!_mailbox.Writer.TryWrite(envelope)) return WaitAndTellAsync(envelope, cancellation);
            Schedule(lent);
            return ValueTask.CompletedTask;
        }
        finally
        {
            if (lent) LentThread.GiveBack();
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
        Schedule();
        return Stopped;
    }

    private async ValueTask WaitAndTellAsync(Envelope envelope, CancellationToken cancellation)
    {
        try
        {
            await _mailbox.Writer.WriteAsync(envelope, cancellation);
            Schedule();
        }
        catch (ChannelClosedException)
        {
            _host.DeadLetter(this, envelope.Message, "it has stopped");
        }
    }

    // Whoever finds the cell idle sees to it that it runs: here, on the actor's thread, or on the pool.
    private void Schedule(bool here = false)
    {
        if (Interlocked.CompareExchange(ref _busy, 1, 0) != 0) return;
        if (here) Run(here: true);
        else Wake();
    }

    private void Wake()
    {
        if (_options.DedicatedThread) _work.Set();
        else ThreadPool.UnsafeQueueUserWorkItem(static cell => _ = cell.RunAsync(here: false), this, preferLocal: false);
    }

    private void RunOnOwnThread()
    {
        while (!Stopped.IsCompleted)
        {
            _work.Wait();
            _work.Reset();
            if (!Stopped.IsCompleted) Run(here: false);
        }
    }

    // Handlers that complete synchronously stay on the thread, and the others are waited for.
    private void Run(bool here)
    {
        Task run = RunAsync(here);
        if (!run.IsCompletedSuccessfully) run.GetAwaiter().GetResult();
    }

    // Until nothing is left. A lent thread carries only what such threads told: anything else may have to wait for what it brings.
    private async Task RunAsync(bool here)
    {
        do
        {
            while (true)
            {
                if (Stopping.IsCancellationRequested)
                {
                    Finish();
                    return;
                }

                if (!_mailbox.Reader.TryPeek(out Envelope next)) break;
                if (here && !next.IsLent)
                {
                    Wake();
                    return;
                }

                if (_mailbox.Reader.TryRead(out Envelope envelope) && !await HandleAsync(envelope))
                {
                    Finish();
                    return;
                }
            }

            Interlocked.Exchange(ref _busy, 0);
        }
        while ((Stopping.IsCancellationRequested || _mailbox.Reader.TryPeek(out _)) && Interlocked.CompareExchange(ref _busy, 1, 0) == 0);
    }

    // The cell stays busy: nobody runs it again.
    private void Finish()
    {
        _mailbox.Writer.TryComplete();
        while (_mailbox.Reader.TryRead(out Envelope left)) _host.DeadLetter(this, left.Message, "it has stopped");
        (_actor as IDisposable)?.Dispose();
        _stopped.TrySetResult();
        _work.Set();
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

    private readonly record struct Envelope(object Message, IActorRef? Sender, bool IsLent);
}
