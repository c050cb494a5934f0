namespace DistTrain.Kernels;

/// <summary>The sizes of a recurrent layer's run over a batch of sequences. Arrays are (time, batch, features).</summary>
/// <param name="Time">Steps.</param>
/// <param name="Batch">Examples; rows of a step.</param>
/// <param name="Inputs">Values of one input.</param>
/// <param name="Hidden">H: values of one state.</param>
/// <param name="Reverse">The steps run from the last to the first; padding then comes before a sequence's steps.</param>
public readonly record struct SequenceShape(int Time, int Batch, int Inputs, int Hidden, bool Reverse = false)
{
    // Products of fewer rows than this don't keep the multipliers busy.
    private const int RowsTogether = 96;

    /// <summary>Floats of room that a run needs for products on their way.</summary>
    /// <param name="gates">4 for an LSTM, 3 for a GRU, 1 for a plain network.</param>
    public nint RoomSize(int gates) => (StepsTogether + 1) * (nint)gates * StateSize;

    /// <summary>How many steps' products with the input are made at once.</summary>
    internal int StepsTogether => Math.Clamp((RowsTogether + Batch - 1) / Math.Max(Batch, 1), 1, Math.Max(Time, 1));

    internal nint Rows => (nint)Time * Batch;

    internal nint StateSize => (nint)Batch * Hidden;

    /// <summary>The step that comes <paramref name="order"/>-th.</summary>
    internal int Step(int order) => Reverse ? Time - 1 - order : order;

    /// <summary>The slot, of time + 1, where the state before a step lies.</summary>
    internal int Before(int step) => Reverse ? step + 1 : step;

    /// <summary>The slot where the state after a step lies.</summary>
    internal int After(int step) => Reverse ? step : step + 1;
}

/// <summary>A recurrent layer's weights; G is 4 for an LSTM (i, f, g, o), 3 for a GRU (r, z, n), 1 for a plain network.</summary>
public unsafe struct RecurrentWeights
{
    /// <summary>(G·H, inputs).</summary>
    public float* Input;

    /// <summary>(G·H, H).</summary>
    public float* Recurrent;

    /// <summary>(G·H): added to the products with the input; null for none.</summary>
    public float* InputBias;

    /// <summary>(G·H): added to the products with the state; null for none.</summary>
    public float* RecurrentBias;

    /// <summary>Both, packed for the direction that is run; null to read them as they lie.</summary>
    public PackedRecurrent? Packed;
}

/// <summary>The gradients of <see cref="RecurrentWeights"/>, in the same shapes: overwritten; null where none is wanted.</summary>
public unsafe struct RecurrentGradients
{
    /// <inheritdoc cref="RecurrentWeights.Input"/>
    public float* Input;

    /// <inheritdoc cref="RecurrentWeights.Recurrent"/>
    public float* Recurrent;

    /// <inheritdoc cref="RecurrentWeights.InputBias"/>
    public float* InputBias;

    /// <inheritdoc cref="RecurrentWeights.RecurrentBias"/>
    public float* RecurrentBias;

    /// <summary>Whether any is wanted; without, the leaves are not read.</summary>
    internal readonly bool Any => Input != null || Recurrent != null || InputBias != null || RecurrentBias != null;
}

/// <summary>
/// The shards of a batch of sequences as ranges of rows of (time, batch): within a shard k ascends as (time, example).
/// Made once and filled anew for each batch; it allocates only when it grows.
/// </summary>
public sealed class SequenceLeaves
{
    private KRange[] _ranges = [];
    private int[] _starts = [];
    private int _rangeCount;
    private int _startCount;

    /// <summary>The steps of the batch that was taken last.</summary>
    public int Time { get; private set; }

    /// <summary>The examples of the batch that was taken last.</summary>
    public int Batch { get; private set; }

    /// <summary>The ranges of all leaves, leaf after leaf.</summary>
    public ReadOnlySpan<KRange> Ranges => _ranges.AsSpan(0, _rangeCount);

    /// <summary>Where each leaf's ranges begin, and the end.</summary>
    public ReadOnlySpan<int> Starts => _starts.AsSpan(0, _startCount);

    /// <summary>Takes the shards of a batch.</summary>
    /// <param name="time">Steps.</param>
    /// <param name="batch">Examples.</param>
    /// <param name="cuts">(shards + 1): shard s has examples [cuts[s], cuts[s + 1]).</param>
    /// <exception cref="ArgumentException">The cuts don't ascend from 0 to the batch.</exception>
    public void Set(int time, int batch, ReadOnlySpan<int> cuts)
    {
        if (cuts.Length < 2 || cuts[0] != 0 || cuts[^1] != batch)
            Guard.ThrowSegments($"The shards' cuts must go from 0 to {batch}, the number of examples.", nameof(cuts));
        for (int i = 1; i < cuts.Length; i++)
            if (cuts[i] < cuts[i - 1]) Guard.ThrowSegments($"Shard {i - 1} ends before it begins.", nameof(cuts));
        Guard.Length(time, nameof(time));
        int leaves = cuts.Length - 1;
        if (_starts.Length <= leaves) _starts = new int[leaves + 1];
        if (_ranges.Length < leaves * time) _ranges = new KRange[leaves * time];
        Time = time;
        Batch = batch;
        _startCount = leaves + 1;
        _rangeCount = leaves * time;
        for (int leaf = 0; leaf <= leaves; leaf++) _starts[leaf] = leaf * time;
        for (int leaf = 0; leaf < leaves; leaf++)
            for (int t = 0; t < time; t++)
                _ranges[(leaf * time) + t] = new KRange((t * batch) + cuts[leaf], cuts[leaf + 1] - cuts[leaf]);
    }

    /// <summary>Checks that these are the leaves of a run, not of another batch before it.</summary>
    internal void Require(in SequenceShape shape)
    {
        if (Time != shape.Time || Batch != shape.Batch)
            Guard.ThrowSegments($"The shards are of {Time} steps of {Batch} examples; the run has {shape.Time} steps of {shape.Batch}.", "leaves");
    }
}
