using DistTrain.Cluster.Membership;
using DistTrain.Core;
using DistTrain.Tests;

namespace DistTrain.Cluster.Tests;

public sealed class LinkMembershipTests : IDisposable
{
    private readonly ManualTime _time = new();
    private readonly LinkMembership _membership;

    public LinkMembershipTests() => _membership = new LinkMembership(_time, TimeSpan.FromSeconds(3));

    public void Dispose() => _membership.Dispose();

    private static Member Worker(int id) => new(new MemberId(id), MemberRole.Worker, "host", id, 1, "");

    [Fact]
    public void Member_ThatIsSilentForTheTimeout_IsRemovedByName()
    {
        _membership.Admit(Worker(1));
        _membership.Admit(Worker(2));
        _time.Advance(TimeSpan.FromSeconds(2));
        _membership.Heard(new MemberId(2));
        _time.Advance(TimeSpan.FromSeconds(1));
        Departure departure = Assert.Single(_membership.Current.Departures);
        Assert.Equal((1, "not heard for 3.0 s"), (departure.Member.Id.Value, departure.Cause));
        Assert.Equal([2], _membership.Current.Members.Select(m => m.Id.Value));
    }

    [Fact]
    public void Member_ThatIsHeard_Stays()
    {
        _membership.Admit(Worker(1));
        for (int i = 0; i < 20; i++)
        {
            _time.Advance(TimeSpan.FromSeconds(2));
            _membership.Heard(new MemberId(1));
        }

        Assert.Single(_membership.Current.Members);
    }

    [Fact]
    public void Removal_OfAMemberThatIsGone_ChangesNothing()
    {
        _membership.Admit(Worker(1));
        _membership.Remove(new MemberId(1), "closed");
        long version = _membership.Current.Version;
        _membership.Remove(new MemberId(1), "closed again");
        _membership.Heard(new MemberId(1));
        Assert.Equal(version, _membership.Current.Version);
    }

    [Fact]
    public async Task Watch_FromTheMiddle_GivesRisingVersionsUpToTheNewest()
    {
        _membership.Admit(Worker(1));
        using var stop = new CancellationTokenSource();
        var versions = new List<long>();
        await foreach (ClusterView view in _membership.WatchAsync(stop.Token))
        {
            versions.Add(view.Version);
            if (view.Version == 1)
            {
                _membership.Admit(Worker(2));
                _membership.Remove(new MemberId(1), "closed");
            }
            else
            {
                break;
            }
        }

        Assert.Equal([1L, 3], versions);
    }
}
