using DistTrain.Transport.Grpc.HealthV1;
using ServingStatus = DistTrain.Transport.Grpc.HealthV1.HealthCheckResponse.Types.ServingStatus;

namespace DistTrain.Transport.Grpc;

/// <summary>
/// The health of a server (under the empty name, serving from the start) and of the services that somebody set. Thread-safe.
/// </summary>
public sealed class GrpcHealth
{
    private readonly Lock _lock = new();
    private readonly Dictionary<string, ServingStatus> _services = new(StringComparer.Ordinal) { [""] = ServingStatus.Serving };
    private TaskCompletionSource _changed = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private bool _shutdown;

    /// <summary>Says whether a service, by its full name, or the server as a whole, by the empty name, takes calls. Ignored once the server stops.</summary>
    public void Set(string service, bool serving)
    {
        lock (_lock)
        {
            if (_shutdown) return;
            _services[service] = serving ? ServingStatus.Serving : ServingStatus.NotServing;
            Changed();
        }
    }

    internal void Shutdown()
    {
        lock (_lock)
        {
            if (_shutdown) return;
            _shutdown = true;
            foreach (string service in _services.Keys.ToArray()) _services[service] = ServingStatus.NotServing;
            Changed();
        }
    }

    /// <summary>The status, null when unknown, and a task that completes when anything changes; null when nothing will any more.</summary>
    internal (ServingStatus? Status, Task? Changed) Get(string service)
    {
        lock (_lock)
        {
            return (_services.TryGetValue(service, out ServingStatus status) ? status : null, _shutdown ? null : _changed.Task);
        }
    }

    private void Changed()
    {
        _changed.SetResult();
        _changed = new(TaskCreationOptions.RunContinuationsAsynchronously);
    }
}

/// <summary><c>grpc.health.v1.Health</c>.</summary>
internal static class HealthService
{
    public const string Name = "grpc.health.v1.Health";
    public static readonly GrpcMethod<HealthCheckRequest, HealthCheckResponse> Check = new(GrpcMethodKind.Unary, $"/{Name}/Check");
    public static readonly GrpcMethod<HealthCheckRequest, HealthCheckResponse> Watch = new(GrpcMethodKind.ServerStreaming, $"/{Name}/Watch");

    public static void AddTo(GrpcServer server)
    {
        GrpcHealth health = server.Health;
        server.HandleUnary(Check, (request, call) => health.Get(request.Service).Status is { } status
            ? Task.FromResult(new HealthCheckResponse { Status = status })
            : throw new GrpcException(GrpcStatusCode.NotFound, $"unknown service '{request.Service}'"));
        server.HandleServerStreaming(Watch, async (request, responses, call) =>
        {
            ServingStatus? last = null;
            while (true)
            {
                (ServingStatus? status, Task? changed) = health.Get(request.Service);
                ServingStatus now = status ?? ServingStatus.ServiceUnknown;
                if (now != last) await responses.WriteAsync(new HealthCheckResponse { Status = now });
                last = now;
                if (changed is null) throw new GrpcException(GrpcStatusCode.Unavailable, "the server stops");
                await changed.WaitAsync(call.Cancellation);
            }
        });
    }
}
