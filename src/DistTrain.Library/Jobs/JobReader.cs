using System.Text;
using DistTrain.Core;
using DistTrain.Core.Config;

namespace DistTrain.Jobs;

/// <summary>
/// Reads jobs from YAML. Every error names file, line and key, and ends the process with <see cref="ExitCode.BadUsage"/>.
/// </summary>
public static class JobReader
{
    /// <summary>Job files are at most this many bytes.</summary>
    public const int MaximumBytes = 1 << 20;

    private const string EmbeddedName = "digits.yaml (built in)";

    /// <summary>The job that <c>train</c> runs when none is named: a small network on the embedded digits.</summary>
    public static string EmbeddedText
    {
        get
        {
            using Stream stream = typeof(JobReader).Assembly.GetManifestResourceStream("DistTrain.Jobs.digits.yaml")
                ?? throw new InvalidOperationException("the embedded job is missing from this build");
            using var reader = new StreamReader(stream, Encoding.UTF8);
            return reader.ReadToEnd();
        }
    }

    /// <summary>Reads the job file at <paramref name="path"/>, or the embedded job when it is null, with the
    /// <c>key=value</c> overrides applied in order.</summary>
    /// <exception cref="DistTrainException">The file can't be read, is not valid YAML, or no valid job.</exception>
    public static Job Load(string? path, IEnumerable<string>? overrides = null) =>
        path is null ? Parse(EmbeddedText, EmbeddedName, overrides) : Parse(ReadText(path), path, overrides);

    /// <summary>Reads a job from a text; <paramref name="source"/> names it in errors.</summary>
    /// <exception cref="DistTrainException">It is not valid YAML, or no valid job.</exception>
    public static Job Parse(string text, string source, IEnumerable<string>? overrides = null) =>
        Job.FromConfig(ParseConfig(text, source, overrides));

    /// <summary>Reads YAML into a tree without asking what its keys mean.</summary>
    /// <exception cref="DistTrainException">It is not valid YAML.</exception>
    public static ConfigNode ParseConfig(string text, string source, IEnumerable<string>? overrides = null)
    {
        YamlTree tree = YamlTree.Parse(text, line => $"{source}:{line}");
        if (tree.Kind is ConfigKind.Scalar or ConfigKind.List) throw new DistTrainException(ExitCode.BadUsage, $"{tree.Place}: expected a job: lines of 'key: value'");
        foreach (string assignment in overrides ?? []) JobOverrides.Apply(tree, assignment);
        return tree.ToConfig();
    }

    private static string ReadText(string path)
    {
        try
        {
            // Bounded reading, so that even an endless file such as /dev/zero ends in an error.
            using var file = new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.Read);
            byte[] bytes = new byte[MaximumBytes + 1];
            int length = file.ReadAtLeast(bytes, bytes.Length, throwOnEndOfStream: false);
            if (length > MaximumBytes) throw Bad($"larger than {MaximumBytes} bytes; is it a job file?");
            return new UTF8Encoding(false, throwOnInvalidBytes: true).GetString(bytes, 0, length).TrimStart('\uFEFF');
        }
        catch (DecoderFallbackException e)
        {
            throw Bad("not a text in UTF-8; is it a job file?", e);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or NotSupportedException or ArgumentException)
        {
            throw Bad(
                e switch
                {
                    _ when Directory.Exists(path) => "is a directory, not a job file",
                    FileNotFoundException or DirectoryNotFoundException => "no such job file",
                    UnauthorizedAccessException => "may not be read by this user",
                    _ => e.Message,
                },
                e);
        }

        DistTrainException Bad(string message, Exception? inner = null) => new(ExitCode.BadUsage, $"{path}: {message}", inner);
    }
}
