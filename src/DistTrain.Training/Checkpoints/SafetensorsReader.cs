using System.Buffers.Binary;
using System.Collections.Immutable;
using System.Runtime.InteropServices;
using System.Security.Cryptography;
using DistTrain.Core;
using Microsoft.Win32.SafeHandles;

namespace DistTrain.Training.Checkpoints;

/// <summary>
/// Reads a safetensors file. Opening checks its whole header against the file's size, before memory is taken for what
/// the header claims; reading copies ranges of tensors into the caller's memory. Reads may run at once.
/// </summary>
public sealed class SafetensorsReader : IDisposable
{
    private readonly SafeFileHandle _file;
    private readonly long _dataStart;
    private readonly Dictionary<string, SafetensorsTensor> _byName;

    private SafetensorsReader(string path, SafeFileHandle file, long fileLength)
    {
        Path = path;
        _file = file;
        Span<byte> start = stackalloc byte[8];
        if (fileLength < 8) throw Bad($"{fileLength} bytes are too few for a safetensors file");
        ReadExactly(0, start);
        ulong headerLength = BinaryPrimitives.ReadUInt64LittleEndian(start);
        if (headerLength > SafetensorsHeader.MaximumLength) throw Bad($"its first 8 bytes claim a header of {headerLength} bytes; at most {SafetensorsHeader.MaximumLength} are allowed");
        if ((long)headerLength > fileLength - 8) throw Bad($"its first 8 bytes claim a header of {headerLength} bytes; the file has {fileLength}");
        var json = new byte[headerLength];
        ReadExactly(8, json);
        _dataStart = 8 + (long)headerLength;
        SafetensorsHeader header = SafetensorsHeader.Parse(path, json, fileLength - _dataStart);
        Tensors = header.Tensors;
        Metadata = header.Metadata;
        _byName = Tensors.ToDictionary(t => t.Name, StringComparer.Ordinal);
        FileLength = fileLength;
    }

    /// <summary>The file.</summary>
    public string Path { get; }

    /// <summary>Bytes of the whole file.</summary>
    public long FileLength { get; }

    /// <summary>The tensors, in the order of their data.</summary>
    public ImmutableArray<SafetensorsTensor> Tensors { get; }

    /// <summary>The strings under <c>__metadata__</c>.</summary>
    public IReadOnlyDictionary<string, string> Metadata { get; }

    /// <summary>Opens a file and checks its header.</summary>
    /// <exception cref="DistTrainException">BadData: the file is missing, or is not what the format says.</exception>
    public static SafetensorsReader Open(string path)
    {
        SafeFileHandle? file = null;
        try
        {
            file = File.OpenHandle(path);
            return new SafetensorsReader(path, file, RandomAccess.GetLength(file));
        }
        catch (Exception e)
        {
            file?.Dispose();
            if (StorageError.IsStorage(e)) throw StorageError.Reading(path, e);
            throw;
        }
    }

    /// <summary>The tensor of this name, or null.</summary>
    public SafetensorsTensor? Find(string name) => _byName.GetValueOrDefault(name);

    /// <summary>Reads elements [<paramref name="first"/>, first + destination.Length) of an fp32 tensor, row-major.</summary>
    /// <exception cref="DistTrainException">BadData: there is no such tensor, it is not fp32, or the file has changed.</exception>
    public void Read(string name, long first, Span<float> destination)
    {
        SafetensorsTensor tensor = Find(name) ?? throw Bad($"has no tensor '{name}'");
        if (tensor.Type != SafetensorsTensor.Float32) throw Bad($"tensor '{name}' is {tensor.Type}; fp32 (F32) is needed");
        if (first < 0 || destination.Length > tensor.Length - first) throw new ArgumentOutOfRangeException(nameof(first), first, $"[{first}, {first + destination.Length}) is not within the {tensor.Length} elements of '{name}'");
        ReadExactly(_dataStart + tensor.Begin + first * sizeof(float), MemoryMarshal.AsBytes(destination));
    }

    /// <summary>Reads bytes [<paramref name="first"/>, first + destination.Length) of a tensor of any type.</summary>
    /// <exception cref="DistTrainException">BadData: there is no such tensor, or the file has changed.</exception>
    public void ReadBytes(string name, long first, Span<byte> destination)
    {
        SafetensorsTensor tensor = Find(name) ?? throw Bad($"has no tensor '{name}'");
        if (first < 0 || destination.Length > tensor.ByteLength - first) throw new ArgumentOutOfRangeException(nameof(first), first, $"[{first}, {first + destination.Length}) is not within the {tensor.ByteLength} bytes of '{name}'");
        ReadExactly(_dataStart + tensor.Begin + first, destination);
    }

    /// <summary>Size and SHA-256 of the whole file, by the handle that tensors are read from.</summary>
    public FileDigest Digest() => Digest(_file, FileLength, Path);

    /// <inheritdoc/>
    public void Dispose() => _file.Dispose();

    internal static FileDigest Digest(SafeFileHandle file, long length, string path)
    {
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        var piece = new byte[1 << 18];
        long at = 0;
        while (at < length)
        {
            int n = ReadPiece(file, at, piece, path);
            if (n == 0) break;
            hash.AppendData(piece, 0, n);
            at += n;
        }

        return new FileDigest(at, Convert.ToHexStringLower(hash.GetHashAndReset()));
    }

    private static int ReadPiece(SafeFileHandle file, long offset, Span<byte> destination, string path)
    {
        try
        {
            return RandomAccess.Read(file, destination, offset);
        }
        catch (Exception e) when (StorageError.IsStorage(e))
        {
            throw StorageError.Reading(path, e);
        }
    }

    private void ReadExactly(long offset, Span<byte> destination)
    {
        while (destination.Length > 0)
        {
            int n = ReadPiece(_file, offset, destination, Path);
            if (n == 0) throw Bad($"ends at offset {offset}; {destination.Length} bytes more were there when it was opened");
            offset += n;
            destination = destination[n..];
        }
    }

    private DistTrainException Bad(string message) => new(ExitCode.BadData, $"{Path}: {message}");
}
