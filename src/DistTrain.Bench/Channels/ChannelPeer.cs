using System.Globalization;
using System.Net;
using System.Net.Sockets;
using DistTrain.Core;
using DistTrain.Core.Channels;
using DistTrain.Core.Memory;
using DistTrain.Core.Sharding;
using DistTrain.Training;
using DistTrain.Transport.Grpc;
using DistTrain.Transport.Services;

namespace DistTrain.Bench.Channels;

/// <summary>
/// The worker's side of <c>bench channel</c>, in a process of its own: it does what its standard input says and answers when
/// it is done. <c>push N</c>, <c>pull N</c> over the channel; <c>send N</c>, <c>receive N</c> over a plain socket.
/// </summary>
public static class ChannelPeer
{
    /// <summary>Runs until the input ends.</summary>
    /// <param name="url">The server.</param>
    /// <param name="port">The plain socket's port, on the loopback.</param>
    /// <param name="length">Elements of a bucket.</param>
    /// <param name="connections">Connections that payloads travel over.</param>
    /// <param name="share">Whether memory is shared.</param>
    /// <param name="input">Orders, one a line.</param>
    /// <param name="output">Answers.</param>
    public static async Task RunAsync(string url, int port, int length, int connections, bool share, TextReader input, TextWriter output)
    {
        using var payload = new TensorMemory(length, share);
        Touch(payload, length);
        using var socket = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
        await socket.ConnectAsync(IPAddress.Loopback, port);
        var sink = new Sink(length);
        var channel = new GrpcTensorChannel(endpoint => new GrpcChannel(endpoint, new GrpcChannelOptions()), share, connections);
        await using IServerConnection connection = await channel.ConnectAsync(new ServerAddress(0, new MemberId(1), url), 1, 1, sink, CancellationToken.None);
        await output.WriteLineAsync("ready");
        await output.FlushAsync();
        while (await input.ReadLineAsync() is { } line)
        {
            string[] order = line.Split(' ');
            int count = int.Parse(order[1], CultureInfo.InvariantCulture);
            switch (order[0])
            {
                case "push":
                    for (int i = 0; i < count; i++) Push(connection, payload, length, i, i % connections);
                    break;
                case "pull":
                    Task came = sink.Expect(count);
                    await AnswerAsync(output, "go");
                    await came;
                    break;
                case "send":
                    for (int i = 0; i < count; i++) Send(socket, payload, length);
                    break;
                case "receive":
                    for (int i = 0; i < count; i++) Receive(socket, sink.Place);
                    break;
            }

            await AnswerAsync(output, "done");
        }
    }

    /// <summary>Writes a whole bucket to a socket.</summary>
    internal static unsafe void Send(Socket socket, TensorMemory from, int length)
    {
        var bytes = new ReadOnlySpan<byte>(from.Pointer, length * sizeof(float));
        while (!bytes.IsEmpty) bytes = bytes[socket.Send(bytes)..];
    }

    /// <summary>Reads a whole bucket from a socket.</summary>
    internal static unsafe void Receive(Socket socket, NativeSpan to)
    {
        var bytes = new Span<byte>((void*)to.Address, to.Length * sizeof(float));
        while (!bytes.IsEmpty)
        {
            int count = socket.Receive(bytes);
            if (count == 0) throw new EndOfStreamException("the socket was closed");
            bytes = bytes[count..];
        }
    }

    /// <summary>Brings every page in.</summary>
    internal static unsafe void Touch(TensorMemory memory, int length) => new Span<float>(memory.Pointer, length).Fill(1);

    private static unsafe void Push(IServerConnection connection, TensorMemory payload, int length, long step, int bucket) =>
        connection.Push(new SegmentHeader(SegmentKind.Gradient, 1, 1, step, bucket, new ShardRange(0, 1), default), new NativeSpan((nint)payload.Pointer, length));

    private static async Task AnswerAsync(TextWriter output, string word)
    {
        await output.WriteLineAsync(word);
        await output.FlushAsync();
    }

    private sealed unsafe class Sink : IWeightsSink
    {
        private readonly TensorMemory _memory;
        private TaskCompletionSource _came = new(TaskCreationOptions.RunContinuationsAsynchronously);
        private int _left;

        public Sink(int length)
        {
            _memory = new TensorMemory(length, false);
            Touch(_memory, length);
            Place = new NativeSpan((nint)_memory.Pointer, length);
        }

        public NativeSpan Place { get; }

        public Task Expect(int buckets)
        {
            _came = new(TaskCreationOptions.RunContinuationsAsynchronously);
            Volatile.Write(ref _left, buckets);
            return _came.Task;
        }

        public ValueTask<NativeSpan> BeginAsync(WeightsHeader header, CancellationToken cancellation) => new(Place);

        public void Complete(WeightsHeader header)
        {
            if (Interlocked.Decrement(ref _left) == 0) _came.TrySetResult();
        }

        // As a worker does where pages can be shown in place of its own: nothing is copied.
        public ValueTask ReadAsync(WeightsHeader header, NativeSpan source, SharedRegion? region, CancellationToken cancellation)
        {
            Complete(header);
            return ValueTask.CompletedTask;
        }

        public void Abort(WeightsHeader header)
        {
        }
    }
}
