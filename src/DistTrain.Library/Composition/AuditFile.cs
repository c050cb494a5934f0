using System.Text;
using DistTrain.Core;
using DistTrain.Core.Sharding;

namespace DistTrain.Composition;

/// <summary>
/// Which examples each committed step used: a line of JSON for each step, <c>{"step":0,"epoch":0,"shards":[[4,9],…]}</c>. Before a line is written, the
/// digest of its examples is compared with the one that servers joined from what workers gathered, and that counted. Steps that are undone are taken out again.
/// </summary>
internal sealed class AuditFile : IDisposable
{
    private readonly JobContext _context;
    private readonly ShardTree _tree;
    private readonly string _path;
    private readonly Action<string> _warn;
    // Where the line of step _first + i begins.
    private readonly List<long> _lines = [];
    private readonly StringBuilder _text = new();
    private FileStream? _file;
    private long _first;

    private AuditFile(JobContext context, string path, Action<string> warn)
    {
        (_context, _path, _warn, _tree) = (context, path, warn, new ShardTree(context.Job.Batch.Shards));
        _file = new FileStream(path, FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.Read, bufferSize: 0);
    }

    /// <summary>Opens the file and keeps what it holds of the steps before <paramref name="version"/>.</summary>
    /// <param name="context">The job.</param>
    /// <param name="path">The file, which need not exist.</param>
    /// <param name="version">The version that the run begins with; a later one is told to <see cref="GoTo"/>.</param>
    /// <param name="warn">Told when the file can't be written any more.</param>
    /// <exception cref="DistTrainException">BadUsage: it can't be opened, or holds something else.</exception>
    public static AuditFile Open(JobContext context, string path, long version, Action<string> warn)
    {
        AuditFile? audit = null;
        try
        {
            audit = new AuditFile(context, path, warn);
            if (version > 0) audit.Read();
            audit.GoTo(version);
            return audit;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or DistTrainException)
        {
            audit?.Dispose();
            if (e is DistTrainException) throw;
            throw new DistTrainException(ExitCode.BadUsage, $"--audit {path}: {e.Message}", e);
        }
    }

    /// <summary>The version was reached, with the examples that <paramref name="stats"/> tells of.</summary>
    /// <exception cref="DistTrainException">Internal: those aren't the examples of its step.</exception>
    public void Committed(long version, in SegmentStats stats)
    {
        if (_file is null) return;
        long step = version - 1;
        if (_lines.Count == 0) _first = step;
        ulong digest = Write(step);
        if (digest != stats.ExampleDigest) throw new DistTrainException(ExitCode.Internal, $"--audit: step {step} counted {stats.Examples} examples that are not those of its mini-batch");
        if (step != _first + _lines.Count)
        {
            Close($"step {step} follows {_first + _lines.Count - 1}");
            return;
        }

        try
        {
            long start = _file.Length;
            _file.Position = start;
            _file.Write(Encoding.ASCII.GetBytes(_text.ToString()));
            _lines.Add(start);
        }
        catch (IOException e)
        {
            Close(e.Message);
        }
    }

    /// <summary>Takes out what the file holds of <paramref name="version"/> and later steps.</summary>
    public void GoTo(long version)
    {
        if (_file is null) return;
        int kept = (int)Math.Clamp(version - _first, 0, _lines.Count);
        if (kept < _lines.Count) _file.SetLength(_lines[kept]);
        else if (kept == 0) _file.SetLength(0);
        _lines.RemoveRange(kept, _lines.Count - kept);
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _file?.Dispose();
        _file = null;
    }

    private ulong Write(long step)
    {
        ulong digest = 0;
        _text.Clear().Append("{\"step\":").Append(step).Append(",\"epoch\":").Append(step / _context.StepsPerEpoch).Append(",\"shards\":[");
        for (int shard = 0; shard < _tree.Shards; shard++)
        {
            long[] examples = _context.Examples(step, shard);
            digest += ExampleDigest.Of(examples);
            _text.Append(shard == 0 ? "[" : ",[").AppendJoin(',', examples).Append(']');
        }

        _text.Append("]}\n");
        return digest;
    }

    // A line that was cut off is none.
    private void Read()
    {
        using var reader = new StreamReader(_file!, Encoding.ASCII, detectEncodingFromByteOrderMarks: false, leaveOpen: true);
        long start = 0, whole = 0;
        while (reader.ReadLine() is { } line)
        {
            if (start + line.Length >= _file!.Length) break;
            if (!line.StartsWith("{\"step\":", StringComparison.Ordinal) || !long.TryParse(line.AsSpan(8, Math.Max(0, line.IndexOf(',', StringComparison.Ordinal) - 8)), out long step) || (_lines.Count > 0 && step != _first + _lines.Count))
            {
                throw new DistTrainException(ExitCode.BadUsage, $"--audit {_path}: line {_lines.Count + 1} is not that of a step: the file holds something else");
            }

            if (_lines.Count == 0) _first = step;
            _lines.Add(start);
            start += line.Length + 1;
            whole = start;
        }

        _file!.SetLength(whole);
    }

    private void Close(string why)
    {
        _warn($"--audit {_path} ends before step {_first + _lines.Count}: {why}");
        Dispose();
    }
}
