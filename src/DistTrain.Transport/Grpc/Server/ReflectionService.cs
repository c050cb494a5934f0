using DistTrain.Transport.Grpc.HealthV1;
using DistTrain.Transport.Grpc.ReflectionV1;
using Google.Protobuf.Reflection;

namespace DistTrain.Transport.Grpc;

/// <summary><c>grpc.reflection.v1.ServerReflection</c>, and the same under its older name <c>v1alpha</c>.</summary>
internal sealed class ReflectionService
{
    public static readonly GrpcMethod<ServerReflectionRequest, ServerReflectionResponse> V1 =
        new(GrpcMethodKind.Duplex, "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo");

    public static readonly GrpcMethod<ServerReflectionRequest, ServerReflectionResponse> V1Alpha =
        new(GrpcMethodKind.Duplex, "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo");

    private readonly GrpcServer _server;
    private readonly Lazy<DescriptorIndex> _index;

    private ReflectionService(GrpcServer server)
    {
        _server = server;
        _index = new(() => new DescriptorIndex(Roots()));
    }

    public static void AddTo(GrpcServer server)
    {
        var service = new ReflectionService(server);
        server.Handle(V1, service.AnswerAsync);
        server.Handle(V1Alpha, service.AnswerAsync);
    }

    private async Task AnswerAsync(IMessageReader<ServerReflectionRequest> requests, IMessageWriter<ServerReflectionResponse> responses, GrpcServerCall call)
    {
        await foreach (ServerReflectionRequest request in requests.ReadAllAsync())
        {
            ServerReflectionResponse response = Answer(request);
            (response.ValidHost, response.OriginalRequest) = (request.Host, request);
            await responses.WriteAsync(response);
        }
    }

    private ServerReflectionResponse Answer(ServerReflectionRequest request)
    {
        DescriptorIndex index = _index.Value;
        switch (request.MessageRequestCase)
        {
            case ServerReflectionRequest.MessageRequestOneofCase.ListServices:
                var list = new ListServiceResponse();
                list.Service.AddRange(_server.Methods.Values.Select(m => m.Method.Service).Distinct().Where(s => index.BySymbol(s) is not null).Order(StringComparer.Ordinal).Select(s => new ServiceResponse { Name = s }));
                return new() { ListServicesResponse = list };
            case ServerReflectionRequest.MessageRequestOneofCase.FileByFilename:
                return FileOrError(index.ByName(request.FileByFilename), request.FileByFilename);
            case ServerReflectionRequest.MessageRequestOneofCase.FileContainingSymbol:
                return FileOrError(index.BySymbol(request.FileContainingSymbol), request.FileContainingSymbol);
            case ServerReflectionRequest.MessageRequestOneofCase.FileContainingExtension:
                ExtensionRequest extension = request.FileContainingExtension;
                return FileOrError(index.ByExtension(extension.ContainingType, extension.ExtensionNumber), $"extension {extension.ExtensionNumber} of {extension.ContainingType}");
            case ServerReflectionRequest.MessageRequestOneofCase.AllExtensionNumbersOfType:
                string type = request.AllExtensionNumbersOfType;
                if (index.BySymbol(type) is null) return Error(GrpcStatusCode.NotFound, $"unknown: {type}");
                var numbers = new ExtensionNumberResponse { BaseTypeName = type };
                numbers.ExtensionNumber.AddRange(index.ExtensionsOf(type));
                return new() { AllExtensionNumbersResponse = numbers };
            default:
                return Error(GrpcStatusCode.InvalidArgument, "the request asks for nothing that is known here");
        }
    }

    private static ServerReflectionResponse FileOrError(FileDescriptor? file, string name)
    {
        if (file is null) return Error(GrpcStatusCode.NotFound, $"unknown: {name}");
        var response = new FileDescriptorResponse();
        response.FileDescriptorProto.AddRange(DescriptorIndex.Closure([file]).Select(f => f.SerializedData));
        return new() { FileDescriptorResponse = response };
    }

    private static ServerReflectionResponse Error(GrpcStatusCode code, string message) =>
        new() { ErrorResponse = new() { ErrorCode = (int)code, ErrorMessage = message } };

    private IEnumerable<FileDescriptor> Roots() =>
        _server.Methods.Values.SelectMany(m => new[] { m.Method.RequestType.File, m.Method.ResponseType.File })
            .Concat(_server.Options.ReflectionFiles)
            .Append(HealthReflection.Descriptor)
            .Append(ReflectionReflection.Descriptor);
}
