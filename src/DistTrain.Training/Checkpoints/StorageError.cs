using System.Globalization;
using DistTrain.Core;

namespace DistTrain.Training.Checkpoints;

/// <summary>What a file system refuses, as errors that name the path and the room there is.</summary>
internal static class StorageError
{
    // ENOSPC everywhere, EDQUOT of Linux and of macOS, ERROR_DISK_FULL and ERROR_HANDLE_DISK_FULL of Windows.
    private static readonly int[] FullOnUnix = [28, 122, 69];
    private static readonly int[] FullOnWindows = [unchecked((int)0x80070070), unchecked((int)0x80070027)];

    public static bool IsStorage(Exception e) => e is IOException or UnauthorizedAccessException or NotSupportedException or ArgumentException { ParamName: "path" };

    public static bool IsDiskFull(Exception e) =>
        e is IOException && (OperatingSystem.IsWindows() ? FullOnWindows : FullOnUnix).Contains(e.HResult);

    public static FileDigest DigestOf(string path)
    {
        try
        {
            using var file = File.OpenHandle(path);
            return SafetensorsReader.Digest(file, RandomAccess.GetLength(file), path);
        }
        catch (Exception e) when (IsStorage(e))
        {
            throw Reading(path, e);
        }
    }

    public static DistTrainException Reading(string path, Exception e)
    {
        string reason = e switch
        {
            FileNotFoundException or DirectoryNotFoundException => "no such file",
            UnauthorizedAccessException when Directory.Exists(path) => "is a directory, not a file",
            UnauthorizedAccessException => "may not be read by this user",
            _ => e.Message,
        };
        return new DistTrainException(ExitCode.BadData, $"{path}: {reason}", e);
    }

    /// <summary>An error while a checkpoint is written.</summary>
    /// <param name="path">Where it was to stand.</param>
    /// <param name="needed">Bytes of the whole checkpoint.</param>
    /// <param name="free">Bytes that the file system has left, or null where it doesn't tell.</param>
    /// <param name="e">What came.</param>
    public static DistTrainException Writing(string path, long needed, long? free, Exception e)
    {
        if (!IsDiskFull(e)) return new DistTrainException(ExitCode.BadData, $"{path}: the checkpoint can't be written: {e.Message}", e);
        string room = free is { } bytes ? $", {bytes.ToString("N0", CultureInfo.InvariantCulture)} bytes are free" : "";
        return new DistTrainException(
            ExitCode.BadData,
            $"{path}: the disk is full: it needs {needed.ToString("N0", CultureInfo.InvariantCulture)} bytes{room}; it was not written, earlier checkpoints are intact",
            e);
    }
}
