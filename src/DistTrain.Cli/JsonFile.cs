using System.Text.Json;
using System.Text.Json.Serialization;
using DistTrain.Cli.Commands;
using DistTrain.Core;

namespace DistTrain.Cli;

/// <summary>What a command without figures of its own writes.</summary>
internal sealed record Outcome(
    [property: JsonPropertyName("exit_code")] int ExitCode,
    [property: JsonPropertyName("error")] string? Error);

/// <summary>The file of <c>--json FILE</c>: one JSON object, there in full or not at all.</summary>
internal static class JsonFile
{
    /// <summary>The file that the arguments name, found even where they don't parse.</summary>
    public static string? PathIn(string[] args)
    {
        for (int i = 0; i < args.Length && args[i] != "--"; i++)
        {
            if (args[i] == "--json" && i + 1 < args.Length) return args[i + 1];
            if (args[i].StartsWith("--json=", StringComparison.Ordinal)) return args[i]["--json=".Length..];
        }

        return null;
    }

    /// <summary>Refuses a place that can't be written to, before any work is done for it.</summary>
    public static void CheckPlace(string? path, string option = "--json")
    {
        if (path is null) return;
        if (path.Length == 0) throw new DistTrainException(ExitCode.BadUsage, $"{option}: the file name is empty");
        if (Directory.Exists(path)) throw new DistTrainException(ExitCode.BadUsage, $"{option} {path}: is a directory, not a file");
        string directory = Path.GetDirectoryName(Path.GetFullPath(path))!;
        if (!Directory.Exists(directory)) throw new DistTrainException(ExitCode.BadUsage, $"{option} {path}: there is no directory {directory}");
    }

    /// <summary>Writes an object to the file; does nothing without one.</summary>
    /// <exception cref="DistTrainException">The file can't be written.</exception>
    public static void Write<T>(string? path, T value)
    {
        if (path is null) return;
        byte[] text = [.. JsonSerializer.SerializeToUtf8Bytes(value, typeof(T), CliJson.Default), (byte)'\n'];
        string temporary = path + $".{Environment.ProcessId}.tmp";
        try
        {
            if (IsDevice(path))
            {
                // A rename would put a file in the place of /dev/stdout.
                using var device = new FileStream(path, FileMode.Open, FileAccess.Write, FileShare.ReadWrite, bufferSize: 0);
                device.Write(text);
                return;
            }

            using (var file = new FileStream(temporary, FileMode.Create, FileAccess.Write))
            {
                file.Write(text);
                file.Flush(flushToDisk: true);
            }

            File.Move(temporary, path, overwrite: true);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new DistTrainException(ExitCode.BadUsage, $"--json {path}: can't be written: {e.Message}", e);
        }
        finally
        {
            TryDelete(temporary);
        }
    }

    /// <summary>
    /// Writes that a command failed, with the fields that it writes when it doesn't; a failure to do even that is said
    /// on <paramref name="error"/>.
    /// </summary>
    public static void TryWriteFailure(string path, bool trains, ExitCode code, string message, TextWriter error)
    {
        try
        {
            CheckPlace(path);
            if (trains) Write(path, new TrainResult { Error = message, ExitCode = (int)code });
            else Write(path, new Outcome((int)code, message));
        }
        catch (DistTrainException e)
        {
            // The command may have failed for this very reason.
            if (e.Message != message) error.WriteLine($"disttrain: {e.Message}");
        }
    }

    /// <summary>Whether it is no file that could be replaced.</summary>
    public static bool IsDevice(string path) => path.StartsWith("/dev/", StringComparison.Ordinal) || path.StartsWith("/proc/", StringComparison.Ordinal);

    private static void TryDelete(string path)
    {
        try
        {
            File.Delete(path);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            // The error that led here says more.
        }
    }
}

[JsonSourceGenerationOptions(WriteIndented = true)]
[JsonSerializable(typeof(TrainResult))]
[JsonSerializable(typeof(EvaluationResult))]
[JsonSerializable(typeof(InspectedJob))]
[JsonSerializable(typeof(InspectedCheckpoint))]
[JsonSerializable(typeof(BenchReport))]
[JsonSerializable(typeof(Outcome))]
[JsonSerializable(typeof(string))]
internal sealed partial class CliJson : JsonSerializerContext;
