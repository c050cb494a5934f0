using System.Net.Security;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using DistTrain.Core;

namespace DistTrain.Transport.Grpc;

/// <summary>Reads PEM files; what is wrong with one is said with its name.</summary>
internal static class PemFiles
{
    /// <summary>A certificate with its key and the chain that stands in the same file.</summary>
    public static SslStreamCertificateContext Identity(string certificateFile, string keyFile)
    {
        string certificates = Read(certificateFile, "TLS certificate");
        string key = Read(keyFile, "TLS key");
        X509Certificate2 certificate;
        try
        {
            certificate = X509Certificate2.CreateFromPem(certificates, key);
        }
        catch (Exception e) when (e is CryptographicException or ArgumentException)
        {
            throw new DistTrainException(ExitCode.BadUsage, $"TLS: {certificateFile} and {keyFile} are no PEM certificate with its unencrypted key: {e.Message}", e);
        }

        if (OperatingSystem.IsWindows())
        {
            // Schannel can't use a key that exists in memory only.
            certificate = X509CertificateLoader.LoadPkcs12(certificate.Export(X509ContentType.Pkcs12), null);
        }

        X509Certificate2Collection chain = Parse(certificates, certificateFile);
        return SslStreamCertificateContext.Create(certificate, chain, offline: true);
    }

    /// <summary>A policy that trusts the authorities in a file and nobody else.</summary>
    public static X509ChainPolicy Trust(string authorityFile)
    {
        X509Certificate2Collection authorities = Parse(Read(authorityFile, "TLS authority"), authorityFile);
        var policy = new X509ChainPolicy { TrustMode = X509ChainTrustMode.CustomRootTrust, RevocationMode = X509RevocationMode.NoCheck };
        policy.CustomTrustStore.AddRange(authorities);
        return policy;
    }

    private static X509Certificate2Collection Parse(string pem, string file)
    {
        var certificates = new X509Certificate2Collection();
        try
        {
            certificates.ImportFromPem(pem);
        }
        catch (CryptographicException e)
        {
            throw new DistTrainException(ExitCode.BadUsage, $"TLS: {file}: {e.Message}", e);
        }

        return certificates.Count > 0 ? certificates : throw new DistTrainException(ExitCode.BadUsage, $"TLS: {file} holds no PEM certificate");
    }

    private static string Read(string file, string what)
    {
        try
        {
            return File.ReadAllText(file);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new DistTrainException(ExitCode.BadUsage, $"{what} {file} can't be read: {e.Message}", e);
        }
    }
}
