using System.Collections.Immutable;
using DistTrain.Core;
using DistTrain.Core.Layout;
using DistTrain.Kernels;
using DistTrain.Nn;
using DistTrain.Training;
using DistTrain.Training.Checkpoints;

namespace DistTrain;

/// <summary>A trained network in memory. One call at a time.</summary>
public sealed unsafe class TrainedModel : IDisposable
{
    // Rows of one pass: enough to fill the kernels.
    private const int Rows = 256;

    private readonly Model _model;
    private readonly NativeBuffer _weights;
    private readonly NativeBuffer _used;
    private readonly ModelRun _run;

    internal TrainedModel(Model model, ModelSnapshot snapshot, TrainResult result, ValueFormat wire)
    {
        (_model, Result) = (model, result);
        _weights = new NativeBuffer(model.Layout.Length);
        NativeBuffer source = snapshot.Find(ModelSnapshot.Weights)!;
        Buffer.MemoryCopy(source.Pointer, _weights.Pointer, _weights.Length * sizeof(float), _weights.Length * sizeof(float));
        // Workers compute with what arrives of the weights, and of averages all does; what is shown and saved are the servers' own.
        _used = wire.IsExact ? _weights : new NativeBuffer(model.Layout.Length);
        if (_used != _weights)
        {
            Elementwise.Copy(_weights.Pointer, _used.Pointer, (nint)_weights.Length);
            wire.Round(_used);
        }

        _run = new ModelRun(model, Rows, KernelPool.Single, maxLeaves: 1);
    }

    /// <summary>The run's figures.</summary>
    public TrainResult Result { get; }

    /// <summary>The shape of one example.</summary>
    public ImmutableArray<int> InputShape => _model.InputShape;

    /// <summary>The shape of one example's output.</summary>
    public ImmutableArray<int> OutputShape => _model.OutputShape;

    /// <summary>The names of the tensors, such as <c>0.weight</c>.</summary>
    public IEnumerable<string> TensorNames => _model.Layout.Tensors.Select(t => t.Name);

    /// <summary>The values of a tensor, row-major; dense weights are (out, in).</summary>
    /// <exception cref="ArgumentException">There is no tensor of that name.</exception>
    public ReadOnlySpan<float> Tensor(string name)
    {
        TensorEntry entry = _model.Layout.Tensors.FirstOrDefault(t => t.Name == name)
            ?? throw new ArgumentException($"there is no tensor '{name}'; there are {string.Join(", ", TensorNames)}", nameof(name));
        return new(_weights.Pointer + entry.Offset, checked((int)entry.Length));
    }

    /// <summary>
    /// Runs the network forward: inputs (rows, features) to outputs (rows, outputs), both contiguous. Outputs are what the
    /// last layer gives: logits for softmax cross-entropy.
    /// </summary>
    /// <exception cref="ArgumentException">The inputs are no whole number of rows.</exception>
    public float[] Predict(ReadOnlySpan<float> inputs)
    {
        int features = Size(InputShape), outputs = Size(OutputShape);
        if (inputs.Length % features != 0) throw new ArgumentException($"{inputs.Length} values are no whole number of rows of {features}", nameof(inputs));
        int rows = inputs.Length / features;
        var result = new float[rows * outputs];
        for (int first = 0; first < rows; first += Rows)
        {
            int count = Math.Min(Rows, rows - first);
            inputs.Slice(first * features, count * features).CopyTo(new Span<float>(_run.Input, count * features));
            _run.Forward(_used.Pointer, count, new StepKey(0, 0, Training: false));
            new ReadOnlySpan<float>(_run.Output, count * outputs).CopyTo(result.AsSpan(first * outputs));
        }

        return result;
    }

    /// <summary>
    /// The class with the largest output for each row of <paramref name="inputs"/> (rows, features), or for each position of
    /// each row where the output is [time, classes]; the lowest wins ties. A single output tells class 1, above 0, from class 0.
    /// </summary>
    /// <exception cref="ArgumentException">The inputs are no whole number of rows.</exception>
    public int[] Classify(ReadOnlySpan<float> inputs)
    {
        float[] outputs = Predict(inputs);
        int classes = OutputShape[^1];
        var result = new int[outputs.Length / classes];
        for (int row = 0; row < result.Length; row++)
        {
            ReadOnlySpan<float> scores = outputs.AsSpan(row * classes, classes);
            if (classes == 1) result[row] = scores[0] > 0 ? 1 : 0;
            for (int c = 1; c < classes; c++)
            {
                if (scores[c] > scores[result[row]]) result[row] = c;
            }
        }

        return result;
    }

    /// <summary>Writes the weights as a safetensors file, which any stock reader opens; a file that is there is replaced,
    /// whole or not at all.</summary>
    /// <exception cref="DistTrainException">The file can't be written.</exception>
    public void Save(string path)
    {
        string temporary = $"{path}.{Guid.NewGuid():N}.tmp";
        try
        {
            using (var writer = new SafetensorsWriter(temporary, [.. _model.Layout.Tensors.Select(t => new TensorSpec(t.Name, t.Shape))]))
            {
                for (int i = 0; i < _model.Layout.Tensors.Length; i++) writer.Write(i, 0, Tensor(_model.Layout.Tensors[i].Name));
                writer.Finish();
            }

            File.Move(temporary, path, overwrite: true);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            File.Delete(temporary);
            throw new DistTrainException(ExitCode.BadData, $"{path}: the model can't be written: {e.Message}", e);
        }
    }

    /// <summary>Frees the weights.</summary>
    public void Dispose()
    {
        _run.Dispose();
        if (_used != _weights) _used.Dispose();
        _weights.Dispose();
    }

    private static int Size(ImmutableArray<int> shape) => shape.Aggregate(1, (n, d) => n * d);
}
