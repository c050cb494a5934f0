using System.Formats.Tar;
using System.Globalization;
using System.Net;
using System.Net.Sockets;
using System.Security.Cryptography;
using DistTrain.Core;

namespace DistTrain.Data.Tests.Fetching;

public sealed class FetcherTests : IDisposable
{
    private static readonly byte[] Content = [.. Enumerable.Range(0, 300_000).Select(i => (byte)(i * i / 7))];

    private readonly TestFiles _files = new();
    private readonly Mirror _mirror = new();
    private readonly HttpClient _client = new();
    private readonly List<string> _reports = [];

    public void Dispose()
    {
        _client.Dispose();
        _mirror.Dispose();
        _files.Dispose();
    }

    private static PublicFile FileOf(string name, byte[] content) => new(name, content.Length, Convert.ToHexStringLower(SHA256.HashData(content)));

    private Task Fetch(params PublicFile[] files) =>
        new Fetcher(_client, _reports.Add).FetchAsync(new("test", "", files), _mirror.Url, _files.Path("to"), CancellationToken.None);

    private async Task<DistTrainException> Fails(PublicFile file)
    {
        var e = await Assert.ThrowsAsync<DistTrainException>(() => Fetch(file));
        Assert.Equal(ExitCode.BadData, e.ExitCode);
        Assert.False(File.Exists(_files.Path("to/" + file.Name)), "a file that isn't right has its name");
        return e;
    }

    [Fact]
    public async Task Fetch_AllFiles_OnceOnly()
    {
        _mirror.Files["a"] = Content;
        _mirror.Files["b"] = [1, 2, 3];
        PublicFile[] files = [FileOf("a", Content), FileOf("b", [1, 2, 3])];
        await Fetch(files);
        Assert.Equal(Content, File.ReadAllBytes(_files.Path("to/a")));
        Assert.Equal([1, 2, 3], File.ReadAllBytes(_files.Path("to/b")));
        Assert.Equal(2, Directory.GetFiles(_files.Path("to")).Length);
        await Fetch(files);
        Assert.Equal(["a ", "b "], _mirror.Asked);
        // A damaged one is fetched again.
        File.WriteAllBytes(_files.Path("to/b"), [1, 2, 4]);
        await Fetch(files);
        Assert.Equal([1, 2, 3], File.ReadAllBytes(_files.Path("to/b")));
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task Fetch_AfterHalfAFile_GoesOnWhereTheMirrorCan(bool ranges)
    {
        _mirror.Files["a"] = Content;
        _mirror.Ranges = ranges;
        Directory.CreateDirectory(_files.Path("to"));
        _files.Write("to/a.part", Content[..100_000]);
        await Fetch(FileOf("a", Content));
        Assert.Equal(Content, File.ReadAllBytes(_files.Path("to/a")));
        Assert.Equal(["a bytes=100000-"], _mirror.Asked);
        Assert.Equal(ranges ? 200_000 : 300_000, _mirror.Sent);
        Assert.False(File.Exists(_files.Path("to/a.part")));
    }

    [Fact]
    public async Task Fetch_WhenTheMirrorStops_KeepsWhatCame()
    {
        _mirror.Files["a"] = Content[..100_000];
        Assert.Contains("the mirror sent 100000 of 300000 bytes", (await Fails(FileOf("a", Content))).Message, StringComparison.Ordinal);
        _mirror.Files["a"] = Content;
        await Fetch(FileOf("a", Content));
        Assert.Equal("a bytes=100000-", _mirror.Asked[^1]);
        Assert.Equal(Content, File.ReadAllBytes(_files.Path("to/a")));
    }

    [Fact]
    public async Task Fetch_AnotherFile_IsRefusedAndNotKept()
    {
        byte[] other = [.. Content];
        other[^1] ^= 1;
        _mirror.Files["a"] = other;
        Assert.Contains("its SHA-256 is", (await Fails(FileOf("a", Content))).Message, StringComparison.Ordinal);
        _mirror.Files["a"] = [.. Content, 0];
        Assert.Contains("more than the 300000 bytes", (await Fails(FileOf("a", Content))).Message, StringComparison.Ordinal);
        _mirror.Files["a"] = Content;
        await Fetch(FileOf("a", Content));
        Assert.All(_mirror.Asked, a => Assert.Equal("a ", a));
        Assert.Contains("404", (await Fails(FileOf("c", Content))).Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Fetch_Archive_IsUnpacked()
    {
        using var memory = new MemoryStream();
        using (var tar = new TarWriter(memory, leaveOpen: true))
        {
            tar.WriteEntry(new PaxTarEntry(TarEntryType.RegularFile, "d/x.bin") { DataStream = new MemoryStream([5, 6]) });
        }

        byte[] archive = TestFiles.Gzip(memory.ToArray());
        _mirror.Files["d.tar.gz"] = archive;
        await Fetch(FileOf("d.tar.gz", archive));
        Assert.Equal([5, 6], File.ReadAllBytes(_files.Path("to/d/x.bin")));
    }

    [Theory]
    [InlineData("nowhere")]
    [InlineData("file:///tmp")]
    public async Task Fetch_NoUrl_IsBadUsage(string mirror)
    {
        var e = await Assert.ThrowsAsync<DistTrainException>(() => new Fetcher(_client, _reports.Add).FetchAsync(PublicDataset.All[0], mirror, _files.Directory, CancellationToken.None));
        Assert.Equal(ExitCode.BadUsage, e.ExitCode);
    }

    [Fact]
    public async Task Fetch_NobodyThere_SaysTheMirror()
    {
        string url = _mirror.Url;
        _mirror.Dispose();
        var e = await Assert.ThrowsAsync<DistTrainException>(() => new Fetcher(_client, _reports.Add).FetchAsync(PublicDataset.All[0], url, _files.Directory, CancellationToken.None));
        Assert.Equal(ExitCode.BadData, e.ExitCode);
        Assert.StartsWith(url, e.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void All_KnownDatasets_AreWhole() => Assert.All(PublicDataset.All.SelectMany(d => d.Files), f =>
    {
        Assert.Matches("^[0-9a-f]{64}$", f.Sha256);
        Assert.True(f.Bytes > 0);
    });

    /// <summary>An HTTP server on this machine, with or without ranges.</summary>
    private sealed class Mirror : IDisposable
    {
        private readonly HttpListener _listener;
        private readonly Task _serving;

        public Mirror()
        {
            // A port that was free a moment ago may be taken by now: another one, then.
            for (int attempt = 0; ; attempt++)
            {
                Url = string.Create(CultureInfo.InvariantCulture, $"http://127.0.0.1:{FreePort()}/some/where/");
                _listener = new HttpListener();
                _listener.Prefixes.Add(Url);
                try
                {
                    _listener.Start();
                    break;
                }
                catch (HttpListenerException) when (attempt < 20)
                {
                    _listener.Close();
                }
            }

            _serving = ServeAsync();
        }

        public string Url { get; }

        public Dictionary<string, byte[]> Files { get; } = new(StringComparer.Ordinal);

        public bool Ranges { get; set; } = true;

        /// <summary>Name and range of each request.</summary>
        public List<string> Asked { get; } = [];

        public long Sent { get; private set; }

        public void Dispose()
        {
            _listener.Close();
            _serving.GetAwaiter().GetResult();
        }

        private static int FreePort()
        {
            using var probe = new TcpListener(IPAddress.Loopback, 0);
            probe.Start();
            return ((IPEndPoint)probe.LocalEndpoint).Port;
        }

        private async Task ServeAsync()
        {
            while (true)
            {
                HttpListenerContext context;
                try
                {
                    context = await _listener.GetContextAsync();
                }
                catch (Exception e) when (e is HttpListenerException or ObjectDisposedException)
                {
                    return;
                }

                await AnswerAsync(context);
            }
        }

        private async Task AnswerAsync(HttpListenerContext context)
        {
            string name = context.Request.Url!.Segments[^1];
            string? range = context.Request.Headers["Range"];
            Asked.Add($"{name} {range}");
            if (!Files.TryGetValue(name, out byte[]? content))
            {
                context.Response.StatusCode = 404;
                context.Response.Close();
                return;
            }

            int from = 0;
            if (Ranges && range != null)
            {
                from = int.Parse(range["bytes=".Length..^1], CultureInfo.InvariantCulture);
                context.Response.StatusCode = 206;
                context.Response.Headers["Content-Range"] = $"bytes {from}-{content.Length - 1}/{content.Length}";
            }

            context.Response.ContentLength64 = content.Length - from;
            try
            {
                await context.Response.OutputStream.WriteAsync(content.AsMemory(from));
                Sent += content.Length - from;
                context.Response.Close();
            }
            catch (Exception e) when (e is HttpListenerException or ObjectDisposedException)
            {
                // The client has heard enough.
            }
        }
    }
}
