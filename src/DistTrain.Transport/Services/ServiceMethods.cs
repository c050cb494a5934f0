using DistTrain.Core;
using DistTrain.Transport.Grpc;
using Google.Protobuf.Reflection;
using Wire = DistTrain.Transport.Proto.V1;

namespace DistTrain.Transport.Services;

/// <summary>The methods of <c>proto/disttrain/v1</c>.</summary>
internal static class ServiceMethods
{
    private static readonly ServiceDescriptor Coordinator = Wire.CoordinatorReflection.Descriptor.Services[0];
    private static readonly ServiceDescriptor Server = Wire.ParameterServerReflection.Descriptor.Services[0];

    // These have lists, of which one byte may become many; the longest is that of a watched model's blocks.
    public static readonly GrpcMethod<Wire.MemberMessage, Wire.CoordinatorMessage> Join = new(Coordinator.FindMethodByName("Join")) { MostBytes = 32 << 20 };
    public static readonly GrpcMethod<Wire.CheckpointPiece, Wire.SaveCheckpointReply> SaveCheckpoint = new(Coordinator.FindMethodByName("SaveCheckpoint"));
    public static readonly GrpcMethod<Wire.LoadCheckpointRequest, Wire.CheckpointPiece> LoadCheckpoint = new(Coordinator.FindMethodByName("LoadCheckpoint"));
    public static readonly GrpcMethod<Wire.ProbeRequest, Wire.ProbeReply> Probe = new(Coordinator.FindMethodByName("Probe"));
    public static readonly GrpcMethod<Wire.Segment, Wire.PushReply> Push = new(Server.FindMethodByName("Push"));
    public static readonly GrpcMethod<Wire.CheckpointPiece, Wire.CopyReply> Copy = new(Server.FindMethodByName("Copy"));
    public static readonly GrpcMethod<Wire.SubscribeRequest, Wire.Weights> Subscribe = new(Server.FindMethodByName("Subscribe"));

    /// <summary>The files that reflection shows.</summary>
    public static IReadOnlyList<FileDescriptor> Files { get; } = [Wire.CoordinatorReflection.Descriptor, Wire.ParameterServerReflection.Descriptor];

    /// <summary>How the cluster's errors look as a status.</summary>
    public static GrpcStatus? StatusOf(Exception exception) => exception is not DistTrainException error ? null : error.ExitCode switch
    {
        ExitCode.BadData => new(GrpcStatusCode.NotFound, error.Message),
        ExitCode.BadUsage => new(GrpcStatusCode.InvalidArgument, error.Message),
        _ => new(GrpcStatusCode.FailedPrecondition, error.Message),
    };

    /// <summary>A peer's word for why a stream ended, for people.</summary>
    public static string Describe(Exception exception) => exception switch
    {
        GrpcException { Code: GrpcStatusCode.Cancelled } or OperationCanceledException => "the connection was closed",
        GrpcException grpc => grpc.Detail.Length > 0 ? grpc.Detail : grpc.Code.ToString(),
        _ => exception.Message,
    };
}
