using System.Security.Cryptography;
using System.Text;
using Microsoft.AspNetCore.Hosting.Server;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Http.Features;

namespace DistTrain.Transport.Grpc;

/// <summary>From an HTTP/2 request to a call, or to the reason why it is none.</summary>
internal sealed class CallDispatcher(GrpcServer server, IReadOnlyDictionary<string, ServerMethod> methods) : IHttpApplication<HttpContext>
{
    private readonly byte[]? _tokenHash = server.Options.BearerToken is { } token ? SHA256.HashData(Encoding.UTF8.GetBytes(token)) : null;

    public HttpContext CreateContext(IFeatureCollection contextFeatures) => new DefaultHttpContext(contextFeatures);

    public void DisposeContext(HttpContext context, Exception? exception)
    {
    }

    public Task ProcessRequestAsync(HttpContext context)
    {
        HttpRequest request = context.Request;
        if (!HttpMethods.IsPost(request.Method)) return RefuseHttp(context, StatusCodes.Status405MethodNotAllowed);
        if (!WireText.IsGrpc(request.ContentType)) return RefuseHttp(context, StatusCodes.Status415UnsupportedMediaType);

        string path = request.Path.Value ?? "";
        methods.TryGetValue(path, out ServerMethod? method);
        if (!Authorised(request, path)) return Refuse(context, new(GrpcStatusCode.Unauthenticated, "this server wants 'authorization: Bearer' with the cluster's token"));
        if (method is null) return Refuse(context, new(GrpcStatusCode.Unimplemented, $"unknown method {path}"));

        string encoding = request.Headers["grpc-encoding"].ToString();
        if (encoding is not ("" or "identity" or Gzip.Name))
        {
            return Refuse(context, new(GrpcStatusCode.Unimplemented, $"grpc-encoding '{encoding}' is unknown here; accepted: {Gzip.Accepted}"));
        }

        TimeSpan? timeout = null;
        string timeoutText = request.Headers["grpc-timeout"].ToString();
        if (timeoutText.Length > 0)
        {
            if (!WireText.TryDecodeTimeout(timeoutText, out TimeSpan value)) return Refuse(context, new(GrpcStatusCode.Internal, $"grpc-timeout '{timeoutText}' is none"));
            timeout = value;
        }

        return new GrpcServerCall(server, context, method.Method, timeout, gzipRequests: encoding == Gzip.Name).RunAsync(method);
    }

    private static Task RefuseHttp(HttpContext context, int status)
    {
        context.Response.StatusCode = status;
        return Task.CompletedTask;
    }

    /// <summary>Status in the headers and nothing else: a trailers-only response.</summary>
    private static Task Refuse(HttpContext context, GrpcStatus status)
    {
        GrpcServerCall.WriteHeaders(context.Response);
        GrpcServerCall.WriteStatus(context.Response.Headers, status, GrpcMetadata.Empty);
        return Task.CompletedTask;
    }

    private bool Authorised(HttpRequest request, string path)
    {
        if (_tokenHash is null || path.StartsWith($"/{HealthService.Name}/", StringComparison.Ordinal)) return true;
        const string Scheme = "Bearer ";
        string given = request.Headers.Authorization.ToString();
        if (!given.StartsWith(Scheme, StringComparison.OrdinalIgnoreCase)) return false;

        // Over hashes, the comparison's time tells neither the token's bytes nor its length.
        Span<byte> hash = stackalloc byte[SHA256.HashSizeInBytes];
        SHA256.HashData(Encoding.UTF8.GetBytes(given[Scheme.Length..].Trim()), hash);
        return CryptographicOperations.FixedTimeEquals(hash, _tokenHash);
    }
}
