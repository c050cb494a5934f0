using System.Globalization;
using System.Text;
using DistTrain.Bench.Training;
using DistTrain.Jobs;

namespace DistTrain.Bench.Distributed;

/// <summary>A network's job over random examples, in files that a cluster of processes reads.</summary>
internal static class ClusterJob
{
    // Mini-batches an epoch: epochs are long, because a step that ends one isn't timed.
    private const int Batches = 64;

    // More epochs than any run takes: runs end at their number of steps.
    private const int Epochs = 1_000_000;

    /// <summary>Writes data and job into a directory; gives the job's file.</summary>
    public static string Write(BenchNetwork network, string directory, ClusterBenchOptions options)
    {
        int batch = options.Batch ?? network.Batch;
        string data = network.Vocabulary > 0 ? WriteText(network, directory, batch) : WriteArrays(network, directory, batch);
        var job = new Job
        {
            Name = network.Name,
            Data = new() { Name = network.Vocabulary > 0 ? "text" : "numpy", Path = data, TestFraction = 0, Context = network.Vocabulary > 0 ? network.Input[0] : null, Classes = network.Vocabulary > 0 ? null : network.Classes },
            Model = network.Spec,
            Optimizer = network.Optimizer,
            Batch = new() { Size = batch, Shards = options.Shards },
            Training = new() { Epochs = Epochs },
            Checkpoint = new() { Path = Path.Combine(directory, "runs"), Every = CheckpointInterval.AtEnd },
        };
        string file = Path.Combine(directory, network.Name + ".yaml");
        File.WriteAllText(file, job.ToYaml());
        return file;
    }

    // Random characters; an example begins at each.
    private static string WriteText(BenchNetwork network, string directory, int batch)
    {
        int length = network.Input[0] + (Batches * batch);
        var text = new StringBuilder(length);
        for (int i = 0; i < length; i++) text.Append((char)('0' + (i < network.Vocabulary ? i : (int)(Uniform(i) * network.Vocabulary))));
        string file = Path.Combine(directory, network.Name + ".txt");
        File.WriteAllText(file, text.ToString());
        return file;
    }

    private static string WriteArrays(BenchNetwork network, string directory, int batch)
    {
        string folder = Path.Combine(directory, network.Name);
        Directory.CreateDirectory(folder);
        int count = Batches * batch, width = network.Input.Aggregate(1, (n, d) => n * d);
        var x = new float[count * width];
        for (int i = 0; i < x.Length; i++) x[i] = (Uniform(i) * 2) - 1;
        var y = new int[count];
        for (int i = 0; i < count; i++) y[i] = i * 7 % network.Classes;
        WriteNpy(Path.Combine(folder, "x.npy"), "<f4", [count, .. network.Input], System.Runtime.InteropServices.MemoryMarshal.AsBytes(x.AsSpan()));
        WriteNpy(Path.Combine(folder, "y.npy"), "<i4", [count], System.Runtime.InteropServices.MemoryMarshal.AsBytes(y.AsSpan()));
        return folder;
    }

    // NumPy's format, version 1.0: magic, version, the header's length, the header padded to a multiple of 64, the values.
    private static void WriteNpy(string file, string type, int[] shape, ReadOnlySpan<byte> values)
    {
        string sizes = string.Concat(shape.Select(d => d.ToString(CultureInfo.InvariantCulture) + ", "));
        string header = $"{{'descr': '{type}', 'fortran_order': False, 'shape': ({sizes}), }}";
        header = header.PadRight(header.Length + 63 - ((10 + header.Length) % 64)) + "\n";
        using FileStream stream = File.Create(file);
        stream.Write([0x93, .. "NUMPY"u8, 1, 0, (byte)header.Length, (byte)(header.Length >> 8)]);
        stream.Write(Encoding.ASCII.GetBytes(header));
        stream.Write(values);
    }

    private static float Uniform(int i) => (float)(((ulong)(uint)i * 0x9E3779B97F4A7C15) >> 40) / (1 << 24);
}
