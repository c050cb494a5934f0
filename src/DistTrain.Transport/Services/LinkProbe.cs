using System.Diagnostics;
using DistTrain.Core;
using DistTrain.Transport.Grpc;
using Google.Protobuf;
using Wire = DistTrain.Transport.Proto.V1;

namespace DistTrain.Transport.Services;

/// <summary>Measures the link to a coordinator's machine, as messages of this protocol find it: some tens of milliseconds.</summary>
public static class LinkProbe
{
    /// <summary>The most bytes that a probe may carry, and ask for.</summary>
    public const int MostBytes = 4 << 20;

    private const int RoundTrips = 9;
    private const int FirstBytes = 64 << 10;

    // Long enough that the way there and back doesn't count much.
    private const double Enough = 0.015;

    /// <summary>Round trips of a few bytes first, the median of which is the latency, then more and more bytes each way.</summary>
    /// <exception cref="GrpcException">The coordinator doesn't answer.</exception>
    public static async Task<LinkSpeed> MeasureAsync(IGrpcInvoker coordinator, CancellationToken cancellation)
    {
        var trips = new double[RoundTrips];
        await TripAsync(coordinator, 0, 0, cancellation);
        for (int i = 0; i < trips.Length; i++) trips[i] = await TripAsync(coordinator, 0, 0, cancellation);
        Array.Sort(trips);
        double trip = trips[trips.Length / 2];
        double up = await RateAsync(trip, bytes => TripAsync(coordinator, bytes, 0, cancellation));
        double down = await RateAsync(trip, bytes => TripAsync(coordinator, 0, bytes, cancellation));
        return new LinkSpeed(trip / 2, Math.Min(up, down));
    }

    /// <summary>Registers the other side. Members that measure at the same time share its link, and measure as much less.</summary>
    internal static void Add(GrpcServer server)
    {
        server.HandleUnary(ServiceMethods.Probe, (request, _) =>
        {
            if (request.ReplyBytes is < 0 or > MostBytes) throw new GrpcException(GrpcStatusCode.InvalidArgument, $"a probe asks for {request.ReplyBytes} bytes; the most are {MostBytes}");
            return Task.FromResult(new Wire.ProbeReply { Payload = ByteString.CopyFrom(new byte[request.ReplyBytes]) });
        });
    }

    private static async Task<double> RateAsync(double trip, Func<int, Task<double>> tripAsync)
    {
        for (int bytes = FirstBytes; ; bytes *= 4)
        {
            double took = await tripAsync(bytes);
            if (took - trip >= Enough || bytes >= MostBytes) return bytes / Math.Max(took - trip, 1e-6);
        }
    }

    private static async Task<double> TripAsync(IGrpcInvoker coordinator, int bytes, int back, CancellationToken cancellation)
    {
        var request = new Wire.ProbeRequest { Payload = ByteString.CopyFrom(new byte[bytes]), ReplyBytes = back };
        long began = Stopwatch.GetTimestamp();
        await coordinator.UnaryAsync(ServiceMethods.Probe, request, new GrpcCallOptions { Cancellation = cancellation });
        return Stopwatch.GetElapsedTime(began).TotalSeconds;
    }
}
