using DistTrain.Transport.Grpc;
using DistTrain.Transport.Tests.Grpc.Echo;
using Google.Protobuf;

namespace DistTrain.Transport.Tests.Grpc;

/// <summary>The methods of the test service.</summary>
public static class EchoMethods
{
    public static readonly GrpcMethod<Item, Item> Say = new(Method("Say"));
    public static readonly GrpcMethod<Item, Item> Count = new(Method("Count"));
    public static readonly GrpcMethod<Item, Item> Sum = new(Method("Sum"));
    public static readonly GrpcMethod<Item, Item> Chat = new(Method("Chat"));
    public static readonly GrpcMethod<Item, Item> Fail = new(Method("Fail"));
    public static readonly GrpcMethod<Item, Item> Hang = new(Method("Hang"));
    public static readonly GrpcMethod<Blob, Item> Upload = new(Method("Upload"));
    public static readonly GrpcMethod<Item, Blob> Download = new(Method("Download"));

    private static Google.Protobuf.Reflection.MethodDescriptor Method(string name) =>
        EchoReflection.Descriptor.FindTypeByName<Google.Protobuf.Reflection.ServiceDescriptor>("Echo").FindMethodByName(name);
}

/// <summary>The test service's handlers, and events for the tests to wait on.</summary>
public sealed class EchoService
{
    private readonly SemaphoreSlim _cancelled = new(0);

    /// <summary>Signals once for each handler of Hang that began.</summary>
    public SemaphoreSlim Hanging { get; } = new(0);

    /// <summary>The deadline of the last call of Hang.</summary>
    public DateTimeOffset? LastDeadline { get; private set; }

    public SinkRecord Sink { get; } = new();

    /// <summary>Waits until a hanging handler saw its token cancelled.</summary>
    public Task<bool> CancelledAsync() => _cancelled.WaitAsync(TimeSpan.FromSeconds(30));

    public void AddTo(GrpcServer server)
    {
        server.HandleUnary(EchoMethods.Say, (item, call) =>
        {
            foreach (GrpcMetadataEntry entry in call.RequestMetadata.Where(e => e.Key.StartsWith("x-echo", StringComparison.Ordinal)))
            {
                Copy(entry, call.ResponseHeaders, "x-head");
                Copy(entry, call.ResponseTrailers, "x-trail");
            }

            return Task.FromResult(item);
        });
        server.HandleServerStreaming(EchoMethods.Count, async (item, responses, call) =>
        {
            for (int i = 0; i < item.Number; i++) await responses.WriteAsync(new Item { Number = i, Text = item.Text });
        });
        server.HandleClientStreaming(EchoMethods.Sum, async (requests, call) =>
        {
            var sum = new Item();
            await foreach (Item item in requests.ReadAllAsync())
            {
                sum.Number += item.Number;
                sum.Text += item.Text;
            }

            return sum;
        });
        server.Handle(EchoMethods.Chat, async (requests, responses, call) =>
        {
            await call.SendHeadersAsync();
            await foreach (Item item in requests.ReadAllAsync()) await responses.WriteAsync(item);
        });
        server.HandleServerStreaming(EchoMethods.Fail, async (item, responses, call) =>
        {
            for (int i = 0; i < item.Data.Length; i++) await responses.WriteAsync(new Item { Number = i });
            throw new GrpcException(new GrpcStatus((GrpcStatusCode)item.Number, item.Text), new GrpcMetadata().Add("x-why", "asked for").Add("x-why-bin", [0, 255, 128]));
        });
        server.HandleServerStreaming(EchoMethods.Hang, async (item, responses, call) =>
        {
            using CancellationTokenRegistration registration = call.Cancellation.Register(() => _cancelled.Release());
            LastDeadline = call.Deadline;
            if (item.Text == "headers") await call.SendHeadersAsync();
            Hanging.Release();
            await Task.Delay(Timeout.Infinite, item.Text == "deaf" ? CancellationToken.None : call.Cancellation);
        });
        server.HandleClientStreaming(EchoMethods.Upload, async (requests, call) =>
        {
            while (await requests.ReadAsync(Sink))
            {
            }

            return new Item { Number = Sink.Completed.Count, Text = string.Join(';', Sink.Completed) };
        });
        server.HandleServerStreaming(EchoMethods.Download, async (item, responses, call) =>
        {
            byte[] payload = SinkRecord.Pattern(item.Number);
            for (int i = 0; i < item.Data.Length; i++) await responses.WriteAsync(new Blob { Id = i, Name = item.Text }, payload);
        });
    }

    private static void Copy(GrpcMetadataEntry entry, GrpcMetadata target, string prefix)
    {
        string key = prefix + entry.Key["x-echo".Length..];
        if (entry.Bytes is { } bytes) target.Add(key, bytes);
        else target.Add(key, entry.Text!);
    }
}

/// <summary>A sink that keeps a line about each blob.</summary>
public sealed class SinkRecord : IPayloadSink<Blob>
{
    private readonly Dictionary<Blob, byte[]> _places = new(ReferenceEqualityComparer.Instance);

    public List<string> Completed { get; } = [];

    public List<long> Dropped { get; } = [];

    public SemaphoreSlim Aborted { get; } = new(0);

    /// <summary>Blobs of this name are dropped.</summary>
    public string Drop { get; init; } = "drop";

    public Func<Task> Before { get; set; } = () => Task.CompletedTask;

    public static byte[] Pattern(int length)
    {
        byte[] bytes = new byte[length];
        for (int i = 0; i < length; i++) bytes[i] = (byte)((i * 31) ^ (i >> 8));
        return bytes;
    }

    public static string Line(Blob header, ReadOnlySpan<byte> payload)
    {
        long sum = 0;
        for (int i = 0; i < payload.Length; i++) sum += (long)payload[i] * (1 + (i % 7));
        return $"{header.Id}/{header.Name}/{payload.Length}/{sum}";
    }

    public async ValueTask<PayloadTarget> BeginAsync(Blob header, int length, CancellationToken cancellation)
    {
        Assert.True(header.Payload.IsEmpty);
        await Before();
        if (header.Name == Drop)
        {
            Dropped.Add(header.Id);
            return PayloadTarget.Drop;
        }

        _places[header] = new byte[length];
        return new(_places[header].AsMemory());
    }

    public ValueTask CompleteAsync(Blob header, CancellationToken cancellation)
    {
        Assert.True(_places.Remove(header, out byte[]? bytes));
        Completed.Add(Line(header, bytes));
        return default;
    }

    public void Abort(Blob header)
    {
        Assert.True(_places.Remove(header));
        Aborted.Release();
    }
}
