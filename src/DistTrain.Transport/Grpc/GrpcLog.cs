using Microsoft.Extensions.Logging;

namespace DistTrain.Transport.Grpc;

/// <summary>What the transport logs. Event ids are stable.</summary>
internal static partial class GrpcLog
{
    [LoggerMessage(EventId = 4001, Level = LogLevel.Error, Message = "the handler of {Method} failed")]
    public static partial void HandlerFailed(ILogger logger, string method, Exception exception);

    [LoggerMessage(EventId = 4002, Level = LogLevel.Debug, Message = "the end of {Method} did not reach its client")]
    public static partial void EndLost(ILogger logger, string method, Exception exception);
}
