using DistTrain.Transport.Grpc;
using Google.Protobuf.Reflection;

namespace DistTrain.Transport.Services;

/// <summary>What a gRPC server that offers the cluster's services is told of them.</summary>
public static class ServiceStatus
{
    /// <summary>The files that reflection shows.</summary>
    public static IReadOnlyList<FileDescriptor> Files => ServiceMethods.Files;

    /// <summary>How the cluster's errors look as a status; null for others.</summary>
    public static GrpcStatus? Of(Exception exception) => ServiceMethods.StatusOf(exception);
}
