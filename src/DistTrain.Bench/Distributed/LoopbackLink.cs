using System.Diagnostics;
using System.Net;
using System.Net.Sockets;

namespace DistTrain.Bench.Distributed;

/// <summary>What a plain TCP connection over the loopback carries.</summary>
internal static class LoopbackLink
{
    private const int ChunkBytes = 1 << 20;

    /// <summary>Bytes a second of one connection in one direction, over about so many seconds.</summary>
    public static double BytesPerSecond(double seconds)
    {
        using var listener = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        listener.Bind(new IPEndPoint(IPAddress.Loopback, 0));
        listener.Listen();
        using var sender = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        sender.Connect(listener.LocalEndPoint!);
        using Socket receiver = listener.Accept();
        var sending = new Thread(() =>
        {
            byte[] chunk = new byte[ChunkBytes];
            long began = Stopwatch.GetTimestamp();
            while (Stopwatch.GetElapsedTime(began).TotalSeconds < seconds)
            {
                for (int sent = 0; sent < chunk.Length;) sent += sender.Send(chunk.AsSpan(sent));
            }

            sender.Shutdown(SocketShutdown.Send);
        });
        byte[] room = new byte[ChunkBytes];
        long start = Stopwatch.GetTimestamp(), bytes = 0;
        sending.Start();
        for (int came; (came = receiver.Receive(room)) > 0;) bytes += came;
        double rate = bytes / Stopwatch.GetElapsedTime(start).TotalSeconds;
        sending.Join();
        return rate;
    }
}
