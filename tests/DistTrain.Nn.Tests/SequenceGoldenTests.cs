using DistTrain.Core.Layout;
using DistTrain.Core.Sharding;

namespace DistTrain.Nn.Tests;

/// <summary>
/// Networks over sequences, described as a job describes them, against PyTorch's: outputs, the mean loss and all gradients,
/// in relative L2 norm per tensor. tests/golden/make_sequence_goldens.py says what the files hold.
/// </summary>
[Collection(ProcessWideState.Name)]
public sealed unsafe class SequenceGoldenTests
{
    private const double Tolerance = 5e-6;

    private static readonly Dictionary<string, (string Model, string Loss)> Jobs = new()
    {
        ["lstm_rows"] = ("""[{ "lstm": { "hidden": 7, "layers": 2, "return": "last" } }, { "dense": 4 }]""", "\"softmax_cross_entropy\""),
        ["gru_rows"] = ("""[{ "gru": { "hidden": 7, "layers": 2, "bidirectional": true, "return": "last" } }, { "dense": 4 }]""", "\"softmax_cross_entropy\""),
        ["rnn_tokens"] = (
            """[{ "embedding": { "vocabulary": 11, "out": 6 } }, { "rnn": 8 }, { "rnn": { "hidden": 5, "activation": "relu", "bias": false } }, { "dense": 3 }]""",
            "\"softmax_cross_entropy\""),
        ["tagger"] = (
            """[{ "embedding": { "vocabulary": 13, "out": 6, "padding": 0 } }, { "lstm": { "hidden": 5, "layers": 2, "bidirectional": true } }, { "dense": 4 }]""",
            "\"softmax_cross_entropy\""),
        ["padded_gru"] = (
            """[{ "embedding": { "vocabulary": 13, "out": 6, "padding": 0 } }, { "gru": { "hidden": 5, "bidirectional": true, "return": "last" } }, { "dense": 4 }]""",
            "\"softmax_cross_entropy\""),
        ["padded_attention"] = (
            """[{ "embedding": { "vocabulary": 13, "out": 8, "padding": 0 } }, { "attention": 2 }, "mean_over_time", { "dense": 4 }]""", "\"softmax_cross_entropy\""),
        ["character_transformer"] = (
            """
            [{ "embedding": { "vocabulary": 17, "out": 12 } }, "positions",
             { "transformer_block": { "heads": 3, "mlp": 20, "causal": true } }, { "transformer_block": { "heads": 3, "mlp": 20, "causal": true } },
             "layer_norm", "unembed"]
            """,
            "\"softmax_cross_entropy\""),
        ["post_norm_encoder"] = (
            """
            [{ "embedding": { "vocabulary": 9, "out": 12 } }, { "positions": "sinusoidal" },
             { "transformer_block": { "heads": 2, "mlp": 16, "norm": "post", "activation": "relu" } }, { "dense": 5 }]
            """,
            """{ "softmax_cross_entropy": { "label_smoothing": 0.1, "class_weights": [1, 0.5, 2, 0.25, 3], "ignore_index": -100 } }"""),
        ["rotary_attention"] = (
            """[{ "embedding": { "vocabulary": 9, "out": 12 } }, { "attention": { "heads": 2, "causal": true, "rotary": true } }, { "dense": 5 }]""",
            "\"softmax_cross_entropy\""),
        ["windowed_attention"] = (
            """[{ "embedding": { "vocabulary": 9, "out": 12 } }, { "attention": { "heads": 3, "causal": true, "window": 4 } }, { "dense": 5 }]""",
            "\"softmax_cross_entropy\""),
        ["padded_window_attention"] = (
            """[{ "embedding": { "vocabulary": 13, "out": 8, "padding": 0 } }, { "attention": { "heads": 2, "window": 2 } }, { "dense": 4 }]""",
            "\"softmax_cross_entropy\""),
        ["dropped_attention"] = (
            """[{ "embedding": { "vocabulary": 9, "out": 12 } }, { "attention": { "heads": 2, "causal": true, "dropout": 0.3 } }, { "dense": 5 }]""",
            "\"softmax_cross_entropy\""),
    };

    public static TheoryData<string> Names() => new(Jobs.Keys);

    [Theory]
    [MemberData(nameof(Names))]
    public void Step_AnyNetwork_AgreesWithPyTorch(string name)
    {
        Golden golden = Golden.Open(name);
        int[] input = golden.Shape("input")[1..];
        Model model = Model.Build(
            ModelSpec.FromConfig(Config.Json(Jobs[name].Model, "model")), LossSpec.FromConfig(Config.Json(Jobs[name].Loss, "loss")), [.. input], golden.Shape("output")[^1], 0);
        using var harness = new Harness(model, golden.Batch);
        foreach (TensorEntry tensor in model.Layout.Tensors)
        {
            Assert.True(golden.Has($"initial.{tensor.Name}"), $"PyTorch has no {tensor.Name}");
            Assert.Equal(golden.Shape($"initial.{tensor.Name}"), tensor.Shape);
            golden[$"initial.{tensor.Name}"].CopyTo(harness.WeightsOf(tensor));
        }

        golden["input"].CopyTo(new Span<float>(harness.Run.Input, golden["input"].Length));
        for (int i = 0; i < golden["label"].Length; i++) harness.Run.Labels[i] = (int)golden["label"][i];

        GradientPlan plan = harness.Plan([0, 2, 2, 3, 6], [0, 4]);
        SegmentStats stats = harness.Step(6, plan)[0];

        AssertClose(Counted(golden, golden["output"]), Counted(golden, new ReadOnlySpan<float>(harness.Run.Output, 6 * harness.Outputs)), "output");
        AssertClose(golden["loss"], [(float)stats.MeanLoss], "loss");
        float[] gradient = harness.Gradient(plan, 0);
        foreach (TensorEntry tensor in model.Layout.Tensors)
        {
            float[] mean = [.. gradient[(int)tensor.Offset..(int)tensor.End].Select(g => (float)(g / stats.WeightSum))];
            AssertClose(golden[$"gradient.{tensor.Name}"], mean, $"gradient of {tensor.Name}");
        }
    }

    // What stands at padding is nobody's business.
    private static float[] Counted(Golden golden, ReadOnlySpan<float> output)
    {
        float[] values = output.ToArray();
        int classes = golden.Shape("output")[^1];
        if (golden.Shape("output").Length == 2) return values;
        for (int i = 0; i < values.Length; i++) values[i] = golden["label"][i / classes] < 0 ? 0 : values[i];
        return values;
    }

    private static void AssertClose(ReadOnlySpan<float> expected, ReadOnlySpan<float> actual, string what)
    {
        Assert.Equal(expected.Length, actual.Length);
        double difference = 0;
        double norm = 0;
        for (int i = 0; i < expected.Length; i++)
        {
            difference += Math.Pow((double)expected[i] - actual[i], 2);
            norm += Math.Pow(expected[i], 2);
        }

        double relative = Math.Sqrt(difference / norm);
        Assert.True(relative <= Tolerance, $"{what}: relative L2 distance {relative:g3}, allowed {Tolerance:g3}");
    }
}
