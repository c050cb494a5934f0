using System.Collections.Immutable;
using DistTrain.Core;
using DistTrain.Core.Layout;

namespace DistTrain.Training.Checkpoints;

/// <summary>The names within a checkpoint.</summary>
internal static class CheckpointNames
{
    public const string Manifest = "manifest.json";
    public const string Model = "model.safetensors";
    public const string Optimizer = "optimizer.safetensors";

    /// <summary>The name that pieces of the weights go by; other vectors are the optimizer's.</summary>
    public const string Weights = ModelSnapshot.Weights;

    /// <summary>The tensors of the optimizer's file: for each state vector those of the layout, <c>momentum.0.weight</c>.</summary>
    public static IReadOnlyList<TensorSpec> OptimizerTensors(ParameterLayout layout, IEnumerable<string> stateVectors) =>
        [.. stateVectors.SelectMany(vector => layout.Tensors.Select(t => new TensorSpec($"{vector}.{t.Name}", t.Shape)))];

    public static IReadOnlyList<TensorSpec> ModelTensors(ParameterLayout layout) => [.. layout.Tensors.Select(t => new TensorSpec(t.Name, t.Shape))];
}

/// <summary>A complete and verified checkpoint, open for reading. Reads may run at once.</summary>
public sealed class LoadedCheckpoint : IDisposable
{
    private LoadedCheckpoint(string path, CheckpointManifest manifest, SafetensorsReader model, SafetensorsReader optimizer)
    {
        Path = path;
        Manifest = manifest;
        Model = model;
        Optimizer = optimizer;
        Layout = manifest.ToLayout();
    }

    /// <summary>Its directory.</summary>
    public string Path { get; }

    /// <summary>What it is of.</summary>
    public CheckpointManifest Manifest { get; }

    /// <summary>The layout of its flat parameter vector.</summary>
    public ParameterLayout Layout { get; }

    /// <summary>The weights and buffers, each under the tensor's name.</summary>
    public SafetensorsReader Model { get; }

    /// <summary>The optimizer's state, each tensor under <c>vector.tensor</c>.</summary>
    public SafetensorsReader Optimizer { get; }

    /// <summary>
    /// Reads elements [<paramref name="offset"/>, offset + destination.Length) of a flat vector: <c>weights</c>, or one
    /// of the manifest's state vectors. Padding between tensors is set to zero.
    /// </summary>
    /// <exception cref="DistTrainException">BadData: there is no such vector.</exception>
    public void Read(string vector, long offset, Span<float> destination)
    {
        bool weights = vector == CheckpointNames.Weights;
        if (!weights && !Manifest.StateVectors.Contains(vector))
        {
            string has = Manifest.StateVectors.IsEmpty ? "none" : string.Join(", ", Manifest.StateVectors);
            throw new DistTrainException(ExitCode.BadData, $"checkpoint {Path} has no optimizer state '{vector}'; the optimizer '{Manifest.Optimizer}' saved {has}");
        }

        destination.Clear();
        foreach (FlatPart part in FlatRange.Parts(Layout, offset, destination.Length))
        {
            string name = Layout.Tensors[part.Tensor].Name;
            SafetensorsReader file = weights ? Model : Optimizer;
            file.Read(weights ? name : $"{vector}.{name}", part.First, destination.Slice(part.At, part.Length));
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        Model.Dispose();
        Optimizer.Dispose();
    }

    /// <summary>Opens and verifies a checkpoint: every byte of it counts in a SHA-256 that is compared.</summary>
    internal static LoadedCheckpoint Open(string path)
    {
        string manifestPath = System.IO.Path.Combine(path, CheckpointNames.Manifest);
        CheckpointManifest manifest = CheckpointManifest.Parse(manifestPath, ReadManifest(path, manifestPath));
        string[] names = [.. manifest.Files.Select(f => f.Name).Order(StringComparer.Ordinal)];
        if (!names.SequenceEqual([CheckpointNames.Model, CheckpointNames.Optimizer]))
        {
            throw new DistTrainException(ExitCode.BadData, $"{manifestPath}: lists the files {string.Join(", ", names)}; expected {CheckpointNames.Model} and {CheckpointNames.Optimizer}");
        }

        ParameterLayout layout = manifest.ToLayout();
        SafetensorsReader? model = null;
        SafetensorsReader? optimizer = null;
        try
        {
            model = OpenFile(path, manifest, CheckpointNames.Model, vectors: 1, () => CheckpointNames.ModelTensors(layout));
            optimizer = OpenFile(path, manifest, CheckpointNames.Optimizer, manifest.StateVectors.Length, () => CheckpointNames.OptimizerTensors(layout, manifest.StateVectors));
            return new LoadedCheckpoint(path, manifest, model, optimizer);
        }
        catch
        {
            model?.Dispose();
            optimizer?.Dispose();
            throw;
        }
    }

    private static byte[] ReadManifest(string path, string manifestPath)
    {
        try
        {
            if (!Directory.Exists(path)) throw new DistTrainException(ExitCode.BadData, $"{path}: no such checkpoint");
            long length = new FileInfo(manifestPath).Length;
            if (length > CheckpointManifest.MaximumLength) throw new DistTrainException(ExitCode.BadData, $"{manifestPath}: {length} bytes; a manifest has at most {CheckpointManifest.MaximumLength}");
            return File.ReadAllBytes(manifestPath);
        }
        catch (FileNotFoundException e)
        {
            throw new DistTrainException(ExitCode.BadData, $"{path}: not a complete checkpoint: it has no {CheckpointNames.Manifest}", e);
        }
        catch (Exception e) when (StorageError.IsStorage(e))
        {
            throw StorageError.Reading(manifestPath, e);
        }
    }

    private static SafetensorsReader OpenFile(string path, CheckpointManifest manifest, string name, int vectors, Func<IReadOnlyList<TensorSpec>> tensors)
    {
        ManifestFile expected = manifest.Files.First(f => f.Name == name);
        string filePath = System.IO.Path.Combine(path, name);
        // Size and hash before anything in the file is believed.
        FileDigest actual = StorageError.DigestOf(filePath);
        if (actual.Bytes != expected.Bytes) throw new DistTrainException(ExitCode.BadData, $"{filePath}: damaged: it has {actual.Bytes} bytes, the manifest says {expected.Bytes}");
        if (actual.Sha256 != expected.Sha256) throw new DistTrainException(ExitCode.BadData, $"{filePath}: damaged: its SHA-256 is {actual.Sha256}, the manifest says {expected.Sha256}");
        SafetensorsReader reader = SafetensorsReader.Open(filePath);
        // Counted before the list is made: a manifest's lists multiply.
        long count = (long)vectors * manifest.Tensors.Length;
        string? wrong = reader.Tensors.Length == count
            ? ModelComparison.Differences(reader.Tensors.Select(t => (t.Name, Shape(t))), tensors().Select(t => (t.Name, t.Shape)))
            : $"{reader.Tensors.Length} tensors instead of {count}";
        if (wrong == null) return reader;
        reader.Dispose();
        throw new DistTrainException(ExitCode.BadData, $"{filePath}: not the tensors that the manifest lists: {wrong}");

        // A dimension beyond int is no dimension of ours; -1 makes it differ.
        static ImmutableArray<int> Shape(SafetensorsTensor t) => [.. t.Shape.Select(d => d <= int.MaxValue && t.Type == SafetensorsTensor.Float32 ? (int)d : -1)];
    }
}
