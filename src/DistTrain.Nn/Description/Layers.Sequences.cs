namespace DistTrain.Nn;

/// <content>Layers for sequences.</content>
public static partial class Layers
{
    /// <summary>A table of vectors, looked up by token id. See <see cref="EmbeddingSpec"/>.</summary>
    public static LayerSpec Embedding(int vocabulary, int outputs, int? padding = null, int first = 0, int? count = null, Initialiser? init = null) =>
        new EmbeddingSpec(vocabulary, outputs, padding, first, count, init);

    /// <summary>A dense layer that shares an embedding's table. See <see cref="UnembedSpec"/>.</summary>
    public static LayerSpec Unembed(string? of = null, bool bias = false) => new UnembedSpec(of, bias);

    /// <summary>Adds a vector to each position. See <see cref="PositionsSpec"/>.</summary>
    public static LayerSpec Positions(PositionKind from = PositionKind.Learned, Initialiser? init = null) => new PositionsSpec(from, init);

    /// <summary>A plain recurrent network. See <see cref="RnnSpec"/>.</summary>
    public static LayerSpec Rnn(
        int hidden, int layers = 1, bool bidirectional = false, RecurrentReturn returns = RecurrentReturn.Sequence, bool relu = false) =>
        new RnnSpec(hidden, layers, bidirectional, returns, Relu: relu);

    /// <summary>Long short-term memory. See <see cref="LstmSpec"/>.</summary>
    public static LayerSpec Lstm(int hidden, int layers = 1, bool bidirectional = false, RecurrentReturn returns = RecurrentReturn.Sequence) =>
        new LstmSpec(hidden, layers, bidirectional, returns);

    /// <summary>Gated recurrent units. See <see cref="GruSpec"/>.</summary>
    public static LayerSpec Gru(int hidden, int layers = 1, bool bidirectional = false, RecurrentReturn returns = RecurrentReturn.Sequence) =>
        new GruSpec(hidden, layers, bidirectional, returns);

    /// <summary>Multi-head self-attention. See <see cref="AttentionSpec"/>.</summary>
    public static LayerSpec Attention(
        int heads, bool causal = false, bool bias = true, bool rotary = false, Initialiser? init = null, int? window = null, double dropout = 0) =>
        new AttentionSpec(heads, causal, bias, rotary, init, window, dropout);

    /// <summary>Attention and a dense network at each position. See <see cref="TransformerBlockSpec"/>; its other options are set by <c>with</c>.</summary>
    public static TransformerBlockSpec TransformerBlock(int heads, int? mlp = null, bool causal = false, double dropout = 0) =>
        new(heads, mlp, Causal: causal, Dropout: dropout);

    /// <summary>The mean over positions: [time, features] becomes [features].</summary>
    public static LayerSpec MeanOverTime() => new MeanOverTimeSpec();
}
