namespace DistTrain.Core.Tests;

public class ClusterViewTests
{
    private static Member Worker(int id) => new(new MemberId(id), MemberRole.Worker, "host", 100 + id, (ulong)id, "");

    [Fact]
    public void View_OfJoinsAndDepartures_HasStrictlyIncreasingVersions()
    {
        ClusterView view = ClusterView.Empty.With(Worker(2)).With(Worker(1));
        Assert.Equal(2, view.Version);
        Assert.Equal([1, 2], view.Members.Select(m => m.Id.Value));
        view = view.Without(new MemberId(1), "it closed the link");
        Assert.Equal(3, view.Version);
        Assert.Equal("it closed the link", Assert.Single(view.Departures).Cause);
    }

    [Fact]
    public void View_OfRepeatedNews_StaysTheSame()
    {
        ClusterView view = ClusterView.Empty.With(Worker(1));
        Assert.Same(view, view.With(Worker(1)));
        Assert.Same(view, view.Without(new MemberId(9), "gone"));
    }
}
