namespace DistTrain.Kernels;

/// <summary>
/// A recurrent layer's weights, packed once for all steps of a run, forward and back. It owns its memory. Pack it anew
/// when the weights change; the results are the same to the bit with and without it.
/// </summary>
public sealed unsafe class PackedRecurrent : IDisposable
{
    private readonly int _gates;
    private readonly nint _inputs;
    private readonly nint _hidden;

    /// <summary>Makes room.</summary>
    /// <param name="gates">4 for an LSTM, 3 for a GRU, 1 for a plain network.</param>
    /// <param name="inputs">Values of one input.</param>
    /// <param name="hidden">H.</param>
    public PackedRecurrent(int gates, int inputs, int hidden)
    {
        _gates = gates;
        _inputs = inputs;
        _hidden = hidden;
        nint units = (nint)gates * hidden;
        InputForward = new PackedMatrix(inputs, units);
        InputBackward = new PackedMatrix(units, inputs);
        Forward = new PackedMatrix(hidden, units);
        // The products of a GRU's n have a gradient of their own, so they go back apart.
        Backward = new PackedMatrix(gates == 3 ? 2 * (nint)hidden : units, hidden);
        if (gates == 3) BackwardLast = new PackedMatrix(hidden, hidden);
    }

    /// <summary>(inputs, G·H).</summary>
    internal PackedMatrix InputForward { get; }

    /// <summary>(G·H, inputs).</summary>
    internal PackedMatrix InputBackward { get; }

    /// <summary>(H, G·H).</summary>
    internal PackedMatrix Forward { get; }

    /// <summary>(G·H, H), or for a GRU (2H, H).</summary>
    internal PackedMatrix Backward { get; }

    /// <summary>A GRU's last (H, H).</summary>
    internal PackedMatrix? BackwardLast { get; }

    /// <summary>Refuses weights packed for another layer.</summary>
    internal void Require(int gates, in SequenceShape shape)
    {
        if (_gates == gates && _inputs == shape.Inputs && _hidden == shape.Hidden) return;
        Guard.ThrowSegments(
            $"The weights were packed for {_gates} gates, {_inputs} inputs and {_hidden} units; the layer has {gates}, {shape.Inputs} and {shape.Hidden}.", nameof(RecurrentWeights.Packed));
    }

    /// <summary>Packs the weights for <see cref="Lstm.Forward"/> and its like.</summary>
    public void PackForward(in RecurrentWeights weights)
    {
        InputForward.Pack(MatrixForm.Transposed, weights.Input, _inputs);
        Forward.Pack(MatrixForm.Transposed, weights.Recurrent, _hidden);
    }

    /// <summary>Packs the weights for <see cref="Lstm.Backward"/> and its like.</summary>
    /// <param name="weights">The layer's weights.</param>
    /// <param name="inputGradient">Whether the inputs' gradient is wanted.</param>
    public void PackBackward(in RecurrentWeights weights, bool inputGradient = true)
    {
        if (inputGradient) InputBackward.Pack(MatrixForm.Normal, weights.Input, _inputs);
        Backward.Pack(MatrixForm.Normal, weights.Recurrent, _hidden);
        BackwardLast?.Pack(MatrixForm.Normal, weights.Recurrent + (2 * _hidden * _hidden), _hidden);
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        InputForward.Dispose();
        InputBackward.Dispose();
        Forward.Dispose();
        Backward.Dispose();
        BackwardLast?.Dispose();
    }
}
