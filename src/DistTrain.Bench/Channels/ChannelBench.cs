using System.Diagnostics;
using System.Globalization;
using System.Net;
using System.Net.Sockets;
using DistTrain.Core.Channels;
using DistTrain.Training;
using DistTrain.Transport.Grpc;
using DistTrain.Transport.Services;

namespace DistTrain.Bench.Channels;

/// <summary>How <see cref="ChannelBench"/> measures.</summary>
/// <param name="Share">Whether memory is shared between the two processes.</param>
/// <param name="Bytes">Bytes of a bucket.</param>
/// <param name="Seconds">Seconds for each direction, about.</param>
/// <param name="Connections">Connections between the two processes, where memory is not shared; the plain socket is always one.</param>
public sealed record ChannelBenchOptions(bool Share, int Bytes, double Seconds, int Connections = 1)
{
    /// <summary>The name of the channel.</summary>
    public string Name => Share ? "shared_memory" : Connections > 1 ? string.Create(CultureInfo.InvariantCulture, $"grpc_{Connections}_connections") : "grpc";

    /// <summary>Connections that payloads travel over.</summary>
    internal int Lanes => Share ? 1 : Connections;
}

/// <summary>
/// Measures a channel between this process, as the server, and another, as the worker, in turn with a plain TCP socket over the loopback: gradients
/// to the server (push) and weights back (broadcast).
/// </summary>
public static class ChannelBench
{
    // Bytes of one burst: so many that its beginning and end, a word over a pipe each, don't matter.
    private const long BurstBytes = 128 << 20;

    /// <summary>Measures both directions.</summary>
    /// <param name="program">The program, and the arguments by which it becomes the other side; the server's URL, a port, the bucket's elements and the number of connections follow.</param>
    /// <param name="options">How.</param>
    /// <param name="cancellation">Ends it between two bursts.</param>
    /// <exception cref="OperationCanceledException">It was ended.</exception>
    public static IEnumerable<BenchResult> Run(IReadOnlyList<string> program, ChannelBenchOptions options, CancellationToken cancellation = default)
    {
        int length = options.Bytes / sizeof(float), count = (int)Math.Max(1, BurstBytes / options.Bytes / options.Lanes) * options.Lanes;
        using var weights = new TensorMemory(length, options.Share);
        using var room = new TensorMemory(length, false);
        ChannelPeer.Touch(weights, length);
        ChannelPeer.Touch(room, length);
        NativeSpan place = Span(room, length);
        var port = new ChannelPort(Span(weights, length), place);
        var server = new GrpcServer(new() { Listen = [new(IPAddress.Loopback, 0)] });
        try
        {
            ParameterServerService.Add(server, port);
            server.StartAsync().GetAwaiter().GetResult();
            using var listener = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
            listener.Bind(new IPEndPoint(IPAddress.Loopback, 0));
            listener.Listen();
            using Process peer = Start(program, $"http://{server.Endpoints[0]}", ((IPEndPoint)listener.LocalEndPoint!).Port, length, options.Lanes);
            try
            {
                using Socket socket = listener.Accept();
                socket.NoDelay = true;
                Expect(peer, "ready");
                double work = (double)count * options.Bytes;
                var turns = new Turns(0.0001, options.Seconds);
                yield return Compare("push", turns.Measure([Timed(PushOverChannel), Timed(PushOverSocket)], cancellation));
                yield return Compare("broadcast", turns.Measure([Timed(PullOverChannel), Timed(PullOverSocket)], cancellation));

                Contender Timed(Action burst) => new LocalContender("", burst, work);

                BenchResult Compare(string way, double[][] times)
                {
                    double[] ratios = [.. times[0].Zip(times[1], (mine, its) => its / mine)];
                    string name = string.Create(CultureInfo.InvariantCulture, $"channel_{options.Name}_{way}_{options.Bytes >> 10}_KiB");
                    return new BenchResult(
                        name, work / Turns.Quantile(times[0], 0.5) / 1e9, "GB/s", "tcp", work / Turns.Quantile(times[1], 0.5) / 1e9,
                        Turns.Quantile(ratios, 0.5), Turns.Quantile(ratios, 0.25), Turns.Quantile(ratios, 0.75));
                }

                void PushOverChannel()
                {
                    Task arrived = port.Expect(count);
                    Tell(peer, "push", count);
                    arrived.GetAwaiter().GetResult();
                    Expect(peer, "done");
                }

                void PushOverSocket()
                {
                    Tell(peer, "send", count);
                    for (int i = 0; i < count; i++) ChannelPeer.Receive(socket, place);
                    Expect(peer, "done");
                }

                void PullOverChannel()
                {
                    Tell(peer, "pull", count);
                    Expect(peer, "go");
                    port.Send(count, options.Lanes);
                    Expect(peer, "done");
                }

                void PullOverSocket()
                {
                    Tell(peer, "receive", count);
                    for (int i = 0; i < count; i++) ChannelPeer.Send(socket, weights, length);
                    Expect(peer, "done");
                }
            }
            finally
            {
                peer.StandardInput.Close();
                if (!peer.WaitForExit(5000)) peer.Kill();
            }
        }
        finally
        {
            server.DisposeAsync().AsTask().GetAwaiter().GetResult();
        }
    }

    private static unsafe NativeSpan Span(TensorMemory memory, int length) => new((nint)memory.Pointer, length);

    private static Process Start(IReadOnlyList<string> program, string url, int port, int length, int connections)
    {
        var start = new ProcessStartInfo(program[0]) { UseShellExecute = false, RedirectStandardInput = true, RedirectStandardOutput = true };
        foreach (string argument in (string[])[.. program.Skip(1), url, port.ToString(CultureInfo.InvariantCulture), length.ToString(CultureInfo.InvariantCulture), connections.ToString(CultureInfo.InvariantCulture)]) start.ArgumentList.Add(argument);
        return Process.Start(start)!;
    }

    private static void Tell(Process peer, string order, int count)
    {
        peer.StandardInput.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{order} {count}"));
        peer.StandardInput.Flush();
    }

    private static void Expect(Process peer, string word)
    {
        string? said = peer.StandardOutput.ReadLine();
        if (said != word) throw new InvalidOperationException($"the other side said '{said}' instead of '{word}'");
    }
}
