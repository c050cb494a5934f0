using System.Collections.Concurrent;
using DistTrain.Cluster.Hosting;
using DistTrain.Core.Actors;
using DistTrain.Tests;

namespace DistTrain.Cluster.Tests;

/// <summary>Actors on threads that others lend.</summary>
public sealed class LentThreadTests : IAsyncDisposable
{
    private static readonly TimeSpan Patience = TimeSpan.FromMinutes(1);
    private static readonly ActorOptions Options = new(DedicatedThread: true) { OnLentThreads = true };

    private readonly ActorHost _host = new(new ManualTime(), _ => { });

    public ValueTask DisposeAsync() => _host.DisposeAsync();

    [Theory]
    [InlineData(true, true, true)]
    [InlineData(true, false, false)]
    [InlineData(false, true, false)]
    public async Task Idle_RunsOnTheThreadThatTold_WhereBothSidesAllowIt(bool allowed, bool lent, bool same)
    {
        var notes = new Notes();
        IActorRef actor = _host.Spawn("notes", () => notes, Options with { OnLentThreads = allowed });
        int teller = await OnThreadAsync(lent, () => actor.TellAsync("one").AsTask().GetAwaiter().GetResult());
        await actor.AskAsync<bool>("done", Patience);
        Assert.Equal(same, notes.Seen.First().Thread == teller);
    }

    // What others told may have to wait for what the lending thread brings.
    [Fact]
    public async Task MessageOfAnotherThread_GoesToTheActorsOwn_EvenBehindALentOne()
    {
        var notes = new Notes();
        IActorRef actor = _host.Spawn("notes", () => notes, Options);
        notes.During["first"] = () => actor.Tell("second");
        int teller = await OnThreadAsync(lent: true, () => actor.TellAsync("first").AsTask().GetAwaiter().GetResult());
        await actor.AskAsync<bool>("done", Patience);
        Assert.Equal(["first", "second", "done"], notes.Seen.Select(s => s.Message));
        Assert.Equal([true, false], notes.Seen.Take(2).Select(s => s.Thread == teller));
    }

    [Fact]
    public async Task LentThread_WithinAHandler_IsNotTakenByAnother()
    {
        var inner = new Notes();
        IActorRef other = _host.Spawn("inner", () => inner, Options);
        var outer = new Notes();
        IActorRef actor = _host.Spawn("outer", () => outer, Options);
        outer.During["go"] = () => other.TellAsync("on").AsTask().GetAwaiter().GetResult();
        int teller = await OnThreadAsync(lent: true, () => actor.TellAsync("go").AsTask().GetAwaiter().GetResult());
        await other.AskAsync<bool>("done", Patience);
        Assert.Equal(teller, outer.Seen.First().Thread);
        Assert.NotEqual(teller, inner.Seen.First().Thread);
    }

    [Fact]
    public async Task ManyThreads_LentAndNot_AreHandledOneAtATime_EachInOrder()
    {
        const int each = 2000;
        var notes = new Notes();
        IActorRef actor = _host.Spawn("notes", () => notes, Options with { MailboxCapacity = 16 });
        await Task.WhenAll(Enumerable.Range(0, 6).Select(t => OnThreadAsync(lent: t % 2 == 0, () =>
        {
            for (int i = 0; i < each; i++) actor.TellAsync(new Numbered(t, i)).AsTask().GetAwaiter().GetResult();
        })));
        await actor.AskAsync<bool>("done", Patience);
        Assert.False(notes.Overlapped);
        foreach (IGrouping<int, Numbered> sender in notes.Numbers.GroupBy(n => n.Sender)) Assert.Equal(Enumerable.Range(0, each), sender.Select(n => n.Number));
        Assert.Equal(6 * each, notes.Numbers.Count);
    }

    [Fact]
    public async Task HandlerThatThrows_OnALentThread_FailsTheActorAndNotTheThread()
    {
        var notes = new Notes();
        IActorRef actor = _host.Spawn("notes", () => notes, Options);
        notes.During["bad"] = () => throw new InvalidOperationException("broken");
        await OnThreadAsync(lent: true, () => actor.TellAsync("bad").AsTask().GetAwaiter().GetResult());
        Assert.Equal("broken", (await _host.Failure.WaitAsync(Patience)).Cause.Message);
    }

    private static Task<int> OnThreadAsync(bool lent, Action act)
    {
        var done = new TaskCompletionSource<int>(TaskCreationOptions.RunContinuationsAsynchronously);
        new Thread(() =>
        {
            try
            {
                if (lent) LentThread.Lend();
                act();
                done.SetResult(Environment.CurrentManagedThreadId);
            }
            catch (Exception e)
            {
                done.SetException(e);
            }
        }).Start();
        return done.Task.WaitAsync(Patience);
    }

    private sealed record Numbered(int Sender, int Number);

    private sealed class Notes : IActor
    {
        private int _inside;

        public ConcurrentQueue<(string Message, int Thread)> Seen { get; } = new();

        public List<Numbered> Numbers { get; } = [];

        public Dictionary<string, Action> During { get; } = [];

        public bool Overlapped { get; private set; }

        public ValueTask ReceiveAsync(object message, IActorContext context)
        {
            if (Interlocked.Increment(ref _inside) != 1) Overlapped = true;
            if (message is Numbered numbered) Numbers.Add(numbered);
            else Seen.Enqueue(((string)message, Environment.CurrentManagedThreadId));
            if (message is string text && During.TryGetValue(text, out Action? act)) act();
            context.Sender?.Tell(true);
            Interlocked.Decrement(ref _inside);
            return ValueTask.CompletedTask;
        }
    }
}
