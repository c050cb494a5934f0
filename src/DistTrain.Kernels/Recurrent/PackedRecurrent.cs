namespace DistTrain.Kernels;

/// <summary>
/// A layer's recurrent weights, packed once for all steps of a run, forward and back. It owns its memory. Pack it anew
/// when the weights change; the results are the same to the bit with and without it.
/// </summary>
public sealed unsafe class PackedRecurrent : IDisposable
{
    private readonly nint _hidden;

    /// <summary>Makes room.</summary>
    /// <param name="gates">4 for an LSTM, 3 for a GRU, 1 for a plain network.</param>
    /// <param name="hidden">H.</param>
    public PackedRecurrent(int gates, int hidden)
    {
        _hidden = hidden;
        nint units = (nint)gates * hidden;
        Forward = new PackedMatrix(hidden, units);
        // The products of a GRU's n have a gradient of their own, so they go back apart.
        Backward = new PackedMatrix(gates == 3 ? 2 * (nint)hidden : units, hidden);
        if (gates == 3) BackwardLast = new PackedMatrix(hidden, hidden);
    }

    /// <summary>(H, G·H).</summary>
    internal PackedMatrix Forward { get; }

    /// <summary>(G·H, H), or for a GRU (2H, H).</summary>
    internal PackedMatrix Backward { get; }

    /// <summary>A GRU's last (H, H).</summary>
    internal PackedMatrix? BackwardLast { get; }

    /// <summary>Packs the weights for <see cref="Lstm.Forward"/> and its like.</summary>
    /// <param name="recurrent">(G·H, H).</param>
    public void PackForward(float* recurrent) => Forward.Pack(MatrixForm.Transposed, recurrent, _hidden);

    /// <summary>Packs the weights for <see cref="Lstm.Backward"/> and its like.</summary>
    /// <param name="recurrent">(G·H, H).</param>
    public void PackBackward(float* recurrent)
    {
        Backward.Pack(MatrixForm.Normal, recurrent, _hidden);
        BackwardLast?.Pack(MatrixForm.Normal, recurrent + (2 * _hidden * _hidden), _hidden);
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        Forward.Dispose();
        Backward.Dispose();
        BackwardLast?.Dispose();
    }
}
