using DistTrain.Core.Messages;
using DistTrain.Core.Tracing;
using DistTrain.Transport.Services;
using Wire = DistTrain.Transport.Proto.V1;

namespace DistTrain.Transport.Tests.Services;

public class WireTraceTests
{
    private static readonly Traced Some = new(5, 9, [
        new TraceEvent { Name = TraceName.Pushed, OnChannel = true, Bucket = 3, Lo = 2, Hi = 4, Value = long.MaxValue, Start = -7, Duration = 11 },
        new TraceEvent { Name = TraceName.ManagedBytes, Bucket = -1, Value = 1 },
    ], 17, Last: true);

    [Fact]
    public void Events_TravelWhole()
    {
        var came = (Traced)WireMessages.FromWire(Wire.MemberMessage.Parser.ParseFrom(Google.Protobuf.MessageExtensions.ToByteArray(WireMessages.ToWire(Some))))!;
        Assert.Equal(Some.Events.AsEnumerable(), came.Events);
        Assert.Equal((Some.AskedAt, Some.SentAt, Some.Lost, Some.Last), (came.AskedAt, came.SentAt, came.Lost, came.Last));
    }

    [Fact]
    public void Names_AreThoseOfTheProto() =>
        Assert.Equal(
            Enum.GetValues<TraceName>().Where(n => n != TraceName.None).Select(n => (n.ToString(), (int)n)),
            Enum.GetValues<Wire.TraceName>().Where(n => n != Wire.TraceName.Unspecified).Select(n => (n.ToString(), (int)n)));

    [Fact]
    public void ColumnsOfSeveralLengths_AreNoMessage()
    {
        Wire.Traced wire = WireTrace.ToWire(Some);
        wire.Duration.RemoveAt(1);
        Assert.Null(WireTrace.FromWire(wire));
    }

    [Theory]
    [InlineData(99)]
    [InlineData(-1)]
    [InlineData(256 + 4)]
    public void UnknownNames_AreNoEvents(int name)
    {
        Wire.Traced wire = WireTrace.ToWire(Some);
        wire.Name[0] = (Wire.TraceName)name;
        Assert.Equal(TraceName.None, WireTrace.FromWire(wire)!.Events[0].Name);
    }
}
