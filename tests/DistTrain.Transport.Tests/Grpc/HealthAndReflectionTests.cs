using DistTrain.Transport.Grpc;
using DistTrain.Transport.Grpc.HealthV1;
using DistTrain.Transport.Grpc.ReflectionV1;
using DistTrain.Transport.Tests.Grpc.Echo;
using Google.Protobuf.Reflection;
using ServingStatus = DistTrain.Transport.Grpc.HealthV1.HealthCheckResponse.Types.ServingStatus;

namespace DistTrain.Transport.Tests.Grpc;

public sealed class HealthAndReflectionTests
{
    private const string Service = "disttrain.test.v1.Echo";

    [Fact]
    public async Task Health_Check_KnowsServerAndServices()
    {
        await using EchoFixture echo = await EchoFixture.StartAsync();
        Assert.Equal(ServingStatus.Serving, (await echo.Channel.UnaryAsync(HealthService.Check, new())).Status);
        GrpcException e = await Assert.ThrowsAsync<GrpcException>(() => echo.Channel.UnaryAsync(HealthService.Check, new() { Service = Service }));
        Assert.Equal(GrpcStatusCode.NotFound, e.Code);
        echo.Server.Health.Set(Service, serving: false);
        Assert.Equal(ServingStatus.NotServing, (await echo.Channel.UnaryAsync(HealthService.Check, new() { Service = Service })).Status);
    }

    [Fact]
    public async Task Health_Watch_TellsEachChange()
    {
        await using EchoFixture echo = await EchoFixture.StartAsync();
        using var call = echo.Channel.Send(HealthService.Watch, new() { Service = Service });
        Assert.Equal(ServingStatus.ServiceUnknown, (await call.Responses.ReadAsync())!.Status);
        echo.Server.Health.Set(Service, serving: true);
        Assert.Equal(ServingStatus.Serving, (await call.Responses.ReadAsync())!.Status);
        echo.Server.Health.Set("another", serving: true);
        echo.Server.Health.Set(Service, serving: false);
        Assert.Equal(ServingStatus.NotServing, (await call.Responses.ReadAsync())!.Status);
        using var whole = echo.Channel.Send(HealthService.Watch, new());
        Assert.Equal(ServingStatus.Serving, (await whole.Responses.ReadAsync())!.Status);
        Task stopped = echo.Server.StopAsync(TimeSpan.FromSeconds(30));
        Assert.Equal(ServingStatus.NotServing, (await whole.Responses.ReadAsync())!.Status);
        GrpcException e = await Assert.ThrowsAsync<GrpcException>(() => whole.Responses.ReadAsync().AsTask());
        Assert.Equal(GrpcStatusCode.Unavailable, e.Code);
        await stopped;
    }

    [Fact]
    public async Task Reflection_ListServices_NamesAllThatCanBeCalled()
    {
        ServerReflectionResponse answer = await AskAsync(new() { ListServices = "*", Host = "h" }, ReflectionService.V1);
        Assert.Equal([Service, "grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection"], answer.ListServicesResponse.Service.Select(s => s.Name));
        Assert.Equal(("h", "*"), (answer.ValidHost, answer.OriginalRequest.ListServices));
        Assert.Equal(answer, await AskAsync(new() { ListServices = "*", Host = "h" }, ReflectionService.V1Alpha));
    }

    [Theory]
    [InlineData("disttrain.test.v1.Echo")]
    [InlineData("disttrain.test.v1.Echo.Chat")]
    [InlineData("disttrain.test.v1.Blob")]
    [InlineData("disttrain.test.v1.Blob.payload")]
    public async Task Reflection_Symbol_GivesItsFile(string symbol)
    {
        ServerReflectionResponse answer = await AskAsync(new() { FileContainingSymbol = symbol }, ReflectionService.V1);
        FileDescriptorProto file = FileDescriptorProto.Parser.ParseFrom(answer.FileDescriptorResponse.FileDescriptorProto[0]);
        Assert.Equal("echo.proto", file.Name);
        Assert.Equal(EchoReflection.Descriptor.SerializedData, answer.FileDescriptorResponse.FileDescriptorProto[0]);
    }

    [Fact]
    public async Task Reflection_FileByName_GivesTheFile()
    {
        ServerReflectionResponse answer = await AskAsync(new() { FileByFilename = "grpc/health/v1/health.proto" }, ReflectionService.V1);
        Assert.Equal(HealthReflection.Descriptor.SerializedData, Assert.Single(answer.FileDescriptorResponse.FileDescriptorProto));
    }

    [Fact]
    public async Task Reflection_Unknown_IsNotFoundAndTheStreamGoesOn()
    {
        await using EchoFixture echo = await EchoFixture.StartAsync();
        using var call = echo.Channel.Open(ReflectionService.V1);
        ServerReflectionRequest[] unknown =
        [
            new() { FileContainingSymbol = "no.such.Thing" },
            new() { FileByFilename = "no.proto" },
            new() { AllExtensionNumbersOfType = "no.such.Thing" },
            new() { FileContainingExtension = new() { ContainingType = Service, ExtensionNumber = 7 } },
        ];
        foreach (ServerReflectionRequest request in unknown)
        {
            await call.Requests.WriteAsync(request);
            Assert.Equal((int)GrpcStatusCode.NotFound, (await call.Responses.ReadAsync())!.ErrorResponse.ErrorCode);
        }

        await call.Requests.WriteAsync(new());
        Assert.Equal((int)GrpcStatusCode.InvalidArgument, (await call.Responses.ReadAsync())!.ErrorResponse.ErrorCode);
        call.CompleteRequests();
        Assert.Null(await call.Responses.ReadAsync());
    }

    [Fact]
    public async Task Reflection_TurnedOff_IsUnimplemented()
    {
        await using EchoFixture echo = await EchoFixture.StartAsync(EchoFixture.Loopback with { Reflection = false });
        using var call = echo.Channel.Open(ReflectionService.V1);
        GrpcException e = await Assert.ThrowsAsync<GrpcException>(() => call.Responses.ReadAsync().AsTask());
        Assert.Equal(GrpcStatusCode.Unimplemented, e.Code);
    }

    private static async Task<ServerReflectionResponse> AskAsync(ServerReflectionRequest request, GrpcMethod<ServerReflectionRequest, ServerReflectionResponse> method)
    {
        await using EchoFixture echo = await EchoFixture.StartAsync();
        using var call = echo.Channel.Open(method);
        await call.Requests.WriteAsync(request);
        call.CompleteRequests();
        ServerReflectionResponse answer = (await call.Responses.ReadAsync())!;
        Assert.Null(await call.Responses.ReadAsync());
        return answer;
    }
}
