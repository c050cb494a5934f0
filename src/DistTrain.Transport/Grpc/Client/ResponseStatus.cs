using System.Globalization;
using System.Net;
using System.Net.Http.Headers;

namespace DistTrain.Transport.Grpc;

/// <summary>Reads what a response says of its call.</summary>
internal static class ResponseStatus
{
    /// <summary>Throws unless this is a gRPC response that has messages or a regular end to come.</summary>
    public static void Check(HttpResponseMessage response)
    {
        string? contentType = response.Content.Headers.TryGetValues("content-type", out IEnumerable<string>? values) ? values.First() : null;
        GrpcStatus? status = Find(response.Headers);
        if (status is { Code: not GrpcStatusCode.Ok } bad) throw new GrpcException(bad, Metadata(response.Headers));
        if (response.StatusCode != HttpStatusCode.OK) throw new GrpcException(FromHttp(response.StatusCode), $"the peer answered HTTP {(int)response.StatusCode}, which is not gRPC");
        if (!WireText.IsGrpc(contentType)) throw new GrpcException(GrpcStatusCode.Unknown, $"the peer answered with content-type '{contentType}', which is not gRPC");
    }

    /// <summary>True when messages may be compressed with gzip.</summary>
    public static bool UsesGzip(HttpResponseMessage response)
    {
        string encoding = Get(response.Headers, "grpc-encoding") ?? "identity";
        return encoding switch
        {
            "identity" => false,
            Gzip.Name => true,
            _ => throw new GrpcException(GrpcStatusCode.Internal, $"the peer answered with grpc-encoding '{encoding}'; accepted: {Gzip.Accepted}"),
        };
    }

    /// <summary>The status at the end of a response, with its metadata.</summary>
    public static (GrpcStatus Status, GrpcMetadata Trailers) AtEnd(HttpResponseMessage response)
    {
        if (Find(response.TrailingHeaders) is { } status) return (status, Metadata(response.TrailingHeaders));
        if (Find(response.Headers) is { } only) return (only, Metadata(response.Headers));
        return (new(GrpcStatusCode.Unknown, "the response ended without a grpc-status"), Metadata(response.TrailingHeaders));
    }

    /// <summary>The metadata among headers.</summary>
    public static GrpcMetadata Metadata(HttpResponseHeaders headers)
    {
        GrpcMetadata metadata = [];
        foreach ((string key, HeaderStringValues values) in headers.NonValidated)
        {
            foreach (string value in values) metadata.AddWire(key, value);
        }

        return metadata;
    }

    private static GrpcStatus? Find(HttpResponseHeaders headers)
    {
        if (Get(headers, "grpc-status") is not { } text) return null;
        string detail = WireText.DecodeMessage(Get(headers, "grpc-message") ?? "");
        if (!int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out int code)) return new(GrpcStatusCode.Unknown, $"grpc-status '{text}' is none: {detail}");
        return code <= (int)GrpcStatusCode.Unauthenticated ? new((GrpcStatusCode)code, detail) : new(GrpcStatusCode.Unknown, $"grpc-status {code}: {detail}");
    }

    private static string? Get(HttpResponseHeaders headers, string name) =>
        headers.NonValidated.TryGetValues(name, out HeaderStringValues values) ? values.ToString() : null;

    private static GrpcStatusCode FromHttp(HttpStatusCode code) => code switch
    {
        HttpStatusCode.BadRequest => GrpcStatusCode.Internal,
        HttpStatusCode.Unauthorized => GrpcStatusCode.Unauthenticated,
        HttpStatusCode.Forbidden => GrpcStatusCode.PermissionDenied,
        HttpStatusCode.NotFound => GrpcStatusCode.Unimplemented,
        HttpStatusCode.TooManyRequests or HttpStatusCode.BadGateway or HttpStatusCode.ServiceUnavailable or HttpStatusCode.GatewayTimeout => GrpcStatusCode.Unavailable,
        _ => GrpcStatusCode.Unknown,
    };
}
