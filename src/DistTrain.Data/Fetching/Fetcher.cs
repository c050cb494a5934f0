using System.Formats.Tar;
using System.IO.Compression;
using System.Net;
using System.Net.Http.Headers;
using System.Security.Cryptography;
using DistTrain.Core;

namespace DistTrain.Data;

/// <summary>
/// Fetches the files of a <see cref="PublicDataset"/> from a mirror: a base URL under which they lie by their names. A file
/// that is there and right is left alone; a part of one (<c>.part</c>) is gone on with where the mirror can; a file gets its
/// name only once its size and SHA-256 are right. Archives are unpacked beside themselves.
/// </summary>
public sealed class Fetcher(HttpClient client, Action<string> report)
{
    private const int Piece = 1 << 16;

    /// <summary>Fetches all files.</summary>
    /// <param name="dataset">What to fetch.</param>
    /// <param name="mirror">An absolute http or https URL.</param>
    /// <param name="directory">Where the files go; made if it isn't there.</param>
    /// <param name="cancellation">Stops; what has come is kept for the next time.</param>
    /// <exception cref="DistTrainException">BadUsage for the mirror's URL, BadData for what it gave or where it can't be
    /// written.</exception>
    public async Task FetchAsync(PublicDataset dataset, string mirror, string directory, CancellationToken cancellation)
    {
        if (!Uri.TryCreate(mirror.TrimEnd('/') + "/", UriKind.Absolute, out Uri? root) || root.Scheme is not ("http" or "https"))
        {
            throw new DistTrainException(ExitCode.BadUsage, $"--mirror is '{mirror}'; expected an http or https URL under which {dataset.Files[0].Name} lies");
        }

        try
        {
            Directory.CreateDirectory(directory);
            foreach (PublicFile file in dataset.Files) await FetchAsync(file, new Uri(root, file.Name), directory, cancellation);
        }
        catch (Exception e) when (e is HttpRequestException or HttpIOException)
        {
            throw new DistTrainException(ExitCode.BadData, $"{root}: {e.Message}", e);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or InvalidDataException)
        {
            throw new DistTrainException(ExitCode.BadData, $"{directory}: {e.Message}", e);
        }
    }

    private async Task FetchAsync(PublicFile file, Uri url, string directory, CancellationToken cancellation)
    {
        string path = Path.Combine(directory, file.Name), part = path + ".part";
        if (File.Exists(path) && new FileInfo(path).Length == file.Bytes && await HashAsync(path, cancellation) == file.Sha256)
        {
            report($"{path}: already there");
        }
        else
        {
            await DownloadAsync(file, url, part, cancellation);
            string hash = await HashAsync(part, cancellation);
            if (hash != file.Sha256)
            {
                // Going on from it would never come right.
                File.Delete(part);
                throw new DistTrainException(ExitCode.BadData, $"{url}: another file than {file.Name}: its SHA-256 is {hash}, expected {file.Sha256}");
            }

            File.Move(part, path, overwrite: true);
            report($"{path}: fetched, SHA-256 verified");
        }

        if (file.Name.EndsWith(".tar.gz", StringComparison.Ordinal)) await UnpackAsync(path, directory, cancellation);
    }

    private async Task DownloadAsync(PublicFile file, Uri url, string part, CancellationToken cancellation)
    {
        long have = File.Exists(part) ? new FileInfo(part).Length : 0;
        if (have == file.Bytes) return;
        if (have > file.Bytes) have = 0;
        using var request = new HttpRequestMessage(HttpMethod.Get, url);
        if (have > 0) request.Headers.Range = new RangeHeaderValue(have, null);
        using HttpResponseMessage response = await client.SendAsync(request, HttpCompletionOption.ResponseHeadersRead, cancellation);
        if (!response.IsSuccessStatusCode) throw new DistTrainException(ExitCode.BadData, $"{url}: the mirror answered {(int)response.StatusCode} {response.ReasonPhrase}");
        bool goesOn = response.StatusCode == HttpStatusCode.PartialContent && response.Content.Headers.ContentRange?.From == have;
        if (response.StatusCode == HttpStatusCode.PartialContent && !goesOn) throw new DistTrainException(ExitCode.BadData, $"{url}: asked for what follows {have} bytes, the mirror answered with {response.Content.Headers.ContentRange}");
        if (!goesOn) have = 0;
        else report($"{part}: going on after {have} bytes");
        await using Stream body = await response.Content.ReadAsStreamAsync(cancellation);
        await using var target = new FileStream(part, goesOn ? FileMode.Append : FileMode.Create, FileAccess.Write);
        var piece = new byte[Piece];
        while (await body.ReadAsync(piece, cancellation) is > 0 and var n)
        {
            have += n;
            if (have > file.Bytes)
            {
                target.SetLength(0);
                throw new DistTrainException(ExitCode.BadData, $"{url}: more than the {file.Bytes} bytes of {file.Name}");
            }

            await target.WriteAsync(piece.AsMemory(0, n), cancellation);
        }

        if (have < file.Bytes) throw new DistTrainException(ExitCode.BadData, $"{url}: the mirror sent {have} of {file.Bytes} bytes; the same command goes on from there");
    }

    private static async Task<string> HashAsync(string path, CancellationToken cancellation)
    {
        await using var file = new FileStream(path, FileMode.Open, FileAccess.Read);
        return Convert.ToHexStringLower(await SHA256.HashDataAsync(file, cancellation));
    }

    private static async Task UnpackAsync(string path, string directory, CancellationToken cancellation)
    {
        await using var file = new FileStream(path, FileMode.Open, FileAccess.Read);
        await using var content = new GZipStream(file, CompressionMode.Decompress);
        await TarFile.ExtractToDirectoryAsync(content, directory, overwriteFiles: true, cancellation);
    }
}
