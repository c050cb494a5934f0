namespace DistTrain.Transport.Grpc;

/// <summary>A server's TLS: PEM files.</summary>
/// <param name="CertificateFile">The certificate, followed by intermediate ones if there are any.</param>
/// <param name="KeyFile">Its private key, not encrypted.</param>
/// <param name="ClientAuthorityFile">Certificates of the authorities that clients' certificates must come from: mutual TLS. Null asks for none.</param>
public sealed record GrpcServerTls(string CertificateFile, string KeyFile, string? ClientAuthorityFile = null);

/// <summary>A client's TLS: PEM files. All null trusts what the system trusts and shows no certificate.</summary>
/// <param name="AuthorityFile">Certificates of the only authorities to trust; null trusts the system's.</param>
/// <param name="CertificateFile">The client's own certificate, for servers that demand one.</param>
/// <param name="KeyFile">Its private key, not encrypted.</param>
/// <param name="ServerName">The name that the server's certificate must bear when it isn't the address's host; calls bear it as their authority too.</param>
public sealed record GrpcClientTls(string? AuthorityFile = null, string? CertificateFile = null, string? KeyFile = null, string? ServerName = null);
