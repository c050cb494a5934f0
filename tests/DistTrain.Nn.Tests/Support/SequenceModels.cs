namespace DistTrain.Nn.Tests;

/// <summary>Networks over sequences that every promise is tested with.</summary>
internal static class SequenceModels
{
    private const int Vocabulary = 11;

    // The layers behind the input; its shape; whether it is token ids, and whether those end early.
    private static readonly Dictionary<string, (string Layers, int[] Input, bool Tokens, bool Padding)> Cases = new()
    {
        ["dense over time"] = ("""{ "dense": 9 }, "relu", { "dense": 6 }, "tanh", { "dense": 5 }""", [6, 7], false, false),
        ["rnn"] = ("""{ "rnn": { "hidden": 9, "layers": 2, "bidirectional": true } }, { "dense": 5 }""", [6, 7], false, false),
        ["rnn without biases"] = ("""{ "rnn": { "hidden": 9, "activation": "relu", "bias": false, "return": "last" } }, { "dense": 5 }""", [6, 7], false, false),
        ["lstm"] = ("""{ "lstm": { "hidden": 9, "layers": 2, "bidirectional": true } }, { "dense": 5 }""", [6, 7], false, false),
        ["lstm, last state"] = ("""{ "dense": 6 }, { "lstm": { "hidden": 17, "bidirectional": true, "return": "last" } }, { "dense": 5 }""", [6, 7], false, false),
        ["gru"] = ("""{ "gru": { "hidden": 9, "layers": 2, "bidirectional": true } }, { "dense": 5 }""", [6, 7], false, false),
        ["rows of an image"] = ("""{ "gru": { "hidden": 9, "return": "last" } }, { "dense": 5 }""", [1, 6, 7], false, false),
        ["rows of an image, attended"] = ("""{ "transformer_block": { "heads": 2 } }, "mean_over_time", { "dense": 5 }""", [1, 6, 8], false, false),
        ["padded lstm"] = ("""{ "embedding": { "vocabulary": 11, "out": 6, "padding": 0 } }, { "lstm": { "hidden": 9, "bidirectional": true } }, { "dense": 5 }""", [7], true, true),
        ["padded gru, last state"] = (
            """{ "embedding": { "vocabulary": 11, "out": 6, "padding": 0 } }, { "gru": { "hidden": 9, "bidirectional": true, "return": "last" } }, { "dense": 5 }""", [7], true, true),
        ["several ids"] = (
            """{ "embedding": { "vocabulary": 11, "out": 4, "first": 1, "count": 2, "padding": 0 } }, { "rnn": 6 }, { "dense": 5 }""", [6, 4], true, true),
        ["words and characters"] = (
            """
            { "concat": [[{ "embedding": { "vocabulary": 11, "out": 5, "count": 1, "padding": 0 } }], [{ "embedding": { "vocabulary": 11, "out": 2, "first": 1 } }, { "dense": 4 }, "tanh"]] },
            { "lstm": { "hidden": 5, "bidirectional": true } }, { "dense": 5 }
            """,
            [6, 4], true, true),
        ["attention"] = (
            """{ "embedding": { "vocabulary": 11, "out": 8 } }, { "positions": "sinusoidal" }, { "attention": { "heads": 2, "causal": true, "rotary": true } }, { "dense": 5 }""", [9], true, false),
        ["padded attention"] = (
            """{ "embedding": { "vocabulary": 11, "out": 8, "padding": 0 } }, "positions", { "attention": { "heads": 4, "bias": false } }, "mean_over_time", { "dense": 5 }""", [9], true, true),
        ["attention, window and dropout"] = (
            """{ "embedding": { "vocabulary": 11, "out": 8 } }, "positions", { "attention": { "heads": 2, "causal": true, "window": 3, "dropout": 0.3 } }, { "dense": 5 }""", [9], true, false),
        ["padded attention, window and dropout"] = (
            """{ "embedding": { "vocabulary": 11, "out": 8, "padding": 0 } }, { "transformer_block": { "heads": 4, "mlp": 9, "window": 2, "attention_dropout": 0.2 } }, { "dense": 5 }""", [9], true, true),
        ["transformer, norms first"] = (
            """{ "embedding": { "vocabulary": 11, "out": 8 } }, "positions", { "transformer_block": { "heads": 2, "causal": true, "rotary": true } }, "layer_norm", "unembed" """, [9], true, false),
        ["transformer, norms after"] = (
            """{ "embedding": { "vocabulary": 11, "out": 8, "padding": 0 } }, { "transformer_block": { "heads": 4, "mlp": 9, "norm": "post", "activation": "relu", "bias": false, "dropout": 0.2 } }, { "dense": 5 }""", [9], true, true),
        ["tied table"] = (
            """{ "embedding": { "vocabulary": 11, "out": 6 } }, { "lstm": 6 }, { "unembed": { "bias": true } }""", [7], true, false),
        ["tied table, padding"] = (
            """{ "embedding": { "vocabulary": 11, "out": 6, "padding": 0 } }, { "dense": 6 }, "tanh", { "unembed": "0" }""", [7], true, true),
    };

    public static TheoryData<string> Names() => new(Cases.Keys);

    public static Model Build(string name, string loss = "\"softmax_cross_entropy\"")
    {
        (string layers, int[] input, _, _) = Cases[name];
        return Model.Build(
            ModelSpec.FromConfig(Config.Json($"[{layers}]", "model")), LossSpec.FromConfig(Config.Json(loss, "loss")), [.. input],
            layers.Contains("unembed", StringComparison.Ordinal) ? Vocabulary : 5, 0);
    }

    public static Rows Examples(string name, Model model, int rows, int seed)
    {
        (_, _, bool tokens, bool padding) = Cases[name];
        if (tokens) return TokenRows.Random(model, rows, seed, Vocabulary, padding);
        var random = new Random(seed);
        return Rows.Random(model, rows, seed) with { Labels = [.. Enumerable.Range(0, rows * model.LossFunction.Positions).Select(_ => random.Next(5))] };
    }
}
