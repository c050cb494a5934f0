using System.Runtime.CompilerServices;
using DistTrain.Core;
using DistTrain.Core.Actors;

namespace DistTrain.Cluster.Membership;

/// <summary>
/// The built-in engine's membership, kept by the coordinator's process: a member is in from its admission until its
/// link closes, it leaves, or nothing is heard of it for the failure timeout.
/// </summary>
public sealed class LinkMembership : IMembership, IDisposable
{
    private readonly TimeProvider _time;
    private readonly TimeSpan _failureTimeout;
    private readonly ITimer _timer;
    private readonly Lock _lock = new();
    private readonly Dictionary<MemberId, long> _heard = [];
    private long _checked;
    private ClusterView _current = ClusterView.Empty;
    private TaskCompletionSource _changed = new(TaskCreationOptions.RunContinuationsAsynchronously);

    /// <summary>Starts with nobody. Silence is checked four times in each <paramref name="failureTimeout"/>.</summary>
    public LinkMembership(TimeProvider time, TimeSpan failureTimeout)
    {
        (_time, _failureTimeout) = (time, failureTimeout);
        _checked = time.GetTimestamp();
        _timer = time.CreateTimer(_ => RemoveSilent(), null, failureTimeout / 4, failureTimeout / 4);
    }

    /// <inheritdoc/>
    public ClusterView Current
    {
        get
        {
            lock (_lock) return _current;
        }
    }

    /// <inheritdoc/>
    public void Admit(Member member)
    {
        lock (_lock)
        {
            _heard[member.Id] = _time.GetTimestamp();
            Become(_current.With(member));
        }
    }

    /// <inheritdoc/>
    public void Heard(MemberId member)
    {
        lock (_lock)
        {
            if (_heard.ContainsKey(member)) _heard[member] = _time.GetTimestamp();
        }
    }

    /// <inheritdoc/>
    public void Remove(MemberId member, string cause)
    {
        lock (_lock)
        {
            _heard.Remove(member);
            Become(_current.Without(member, cause));
        }
    }

    /// <inheritdoc/>
    public async IAsyncEnumerable<ClusterView> WatchAsync([EnumeratorCancellation] CancellationToken cancellation)
    {
        long seen = -1;
        while (true)
        {
            ClusterView view;
            Task changed;
            lock (_lock) (view, changed) = (_current, _changed.Task);
            if (view.Version > seen)
            {
                seen = view.Version;
                yield return view;
            }
            else
            {
                await changed.WaitAsync(cancellation);
            }
        }
    }

    /// <summary>Stops looking for silent members.</summary>
    public void Dispose() => _timer.Dispose();

    private void RemoveSilent()
    {
        lock (_lock)
        {
            // A check that comes late says that this process was stopped, not that the members were silent.
            bool late = _time.GetElapsedTime(_checked) > _failureTimeout / 2;
            _checked = _time.GetTimestamp();
            if (late)
            {
                foreach (MemberId member in _heard.Keys.ToArray()) _heard[member] = _checked;
            }

            foreach ((MemberId member, long heard) in _heard.ToArray())
            {
                TimeSpan silence = _time.GetElapsedTime(heard);
                if (silence >= _failureTimeout) Remove(member, $"not heard for {silence.TotalSeconds:0.0} s");
            }
        }
    }

    private void Become(ClusterView next)
    {
        if (next.Version == _current.Version) return;
        _current = next;
        _changed.SetResult();
        _changed = new(TaskCreationOptions.RunContinuationsAsynchronously);
    }
}
