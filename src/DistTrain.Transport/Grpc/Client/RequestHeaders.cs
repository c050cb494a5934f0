namespace DistTrain.Transport.Grpc;

/// <summary>The headers of a request.</summary>
internal static class RequestHeaders
{
    private const string UserAgent = "grpc-disttrain/0.1";

    public static void Write(HttpRequestMessage request, GrpcChannel channel, GrpcCallOptions options)
    {
        request.Content!.Headers.TryAddWithoutValidation("content-type", WireText.ContentType);
        request.Headers.TryAddWithoutValidation("te", "trailers");
        if (channel.Options.Tls?.ServerName is { } name) request.Headers.Host = name;
        request.Headers.TryAddWithoutValidation("user-agent", UserAgent);
        request.Headers.TryAddWithoutValidation("grpc-accept-encoding", Gzip.Accepted);
        if (options.Limit is { } timeout) request.Headers.TryAddWithoutValidation("grpc-timeout", WireText.EncodeTimeout(timeout));
        if (options.Compress) request.Headers.TryAddWithoutValidation("grpc-encoding", Gzip.Name);
        if (channel.Authorization is { } token && options.Metadata?.Get("authorization") is null) request.Headers.Authorization = token;
        foreach (GrpcMetadataEntry entry in options.Metadata ?? GrpcMetadata.Empty)
        {
            request.Headers.TryAddWithoutValidation(entry.Key, GrpcMetadata.WireValue(entry));
        }
    }
}
