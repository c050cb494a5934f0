using DistTrain.Core;
using DistTrain.Core.Sharding;

namespace DistTrain.Nn.Tests;

/// <summary>Networks over sequences: what they are called, what they refuse, and that padding does not show.</summary>
[Collection(ProcessWideState.Name)]
public sealed unsafe class SequenceModelTests
{
    private static Model Build(string layers, int[] input, int classes = 5, string loss = "\"softmax_cross_entropy\"") => Model.Build(
        ModelSpec.FromConfig(Config.Json($"[{layers}]", "model")), LossSpec.FromConfig(Config.Json(loss, "loss")), [.. input], classes, 0);

    [Fact]
    public void FromConfig_EveryForm_EqualsTheCSharpForm()
    {
        ModelSpec spec = ModelSpec.FromConfig(Config.Json(
            """
            [{ "embedding": { "vocabulary": 65, "out": 128, "padding": 0 } }, "positions", { "positions": "sinusoidal" }, { "lstm": 7 },
             { "gru": { "hidden": 7, "layers": 2, "bidirectional": true, "return": "last" } }, { "rnn": { "hidden": 3, "activation": "relu" } },
             { "attention": 4 }, { "attention": { "heads": 4, "causal": true, "rotary": true, "window": 9, "dropout": 0.2 } }, "mean_over_time",
             { "transformer_block": { "heads": 4, "mlp": 64, "causal": true, "dropout": 0.1, "window": 5, "attention_dropout": 0.3 } }, { "unembed": "0" }, "unembed"]
            """,
            "model"));

        Assert.Equal(
            new ModelSpec(
            [
                Layers.Embedding(65, 128, padding: 0), Layers.Positions(), Layers.Positions(PositionKind.Sinusoidal), Layers.Lstm(7),
                Layers.Gru(7, 2, bidirectional: true, RecurrentReturn.Last), Layers.Rnn(3, relu: true),
                Layers.Attention(4), Layers.Attention(4, causal: true, rotary: true, window: 9, dropout: 0.2), Layers.MeanOverTime(),
                Layers.TransformerBlock(4, 64, causal: true, dropout: 0.1) with { Window = 5, AttentionDropout = 0.3 }, Layers.Unembed("0"), Layers.Unembed(),
            ]),
            spec);
        Assert.Equal(
            Losses.SoftmaxCrossEntropyWith(0.1, [1, 2], -1),
            LossSpec.FromConfig(Config.Json("""{ "softmax_cross_entropy": { "label_smoothing": 0.1, "class_weights": [1, 2], "ignore_index": -1 } }""", "loss")));
        Assert.NotEqual(Losses.SoftmaxCrossEntropyWith(classWeights: [1, 2]), Losses.SoftmaxCrossEntropyWith(classWeights: [1, 3]));
    }

    [Fact]
    public void Build_CharacterTransformer_LaysOutAboutAsManyParametersAsNanoGpt()
    {
        string block = """{ "transformer_block": { "heads": 4, "causal": true, "bias": false } }""";
        Model model = Build($$"""{ "embedding": { "vocabulary": 65, "out": 128 } }, "positions", {{block}}, {{block}}, {{block}}, {{block}}, "layer_norm", "unembed" """, [64], 65);

        Assert.Equal([64, 65], model.OutputShape.AsEnumerable());
        Assert.Equal((65 * 128) + (64 * 128) + (4 * ((12 * 128 * 128) + (4 * 128))) + 256, model.Summary.Sum(l => l.Parameters));
        Assert.Equal(
            ["2.norm1.weight", "2.norm1.bias", "2.self_attn.in_proj_weight", "2.self_attn.out_proj.weight", "2.norm2.weight", "2.norm2.bias", "2.linear1.weight", "2.linear2.weight"],
            model.Layout.Tensors.Select(t => t.Name).Where(n => n.StartsWith("2.", StringComparison.Ordinal)));
    }

    [Fact]
    public void Build_RecurrentLayers_NamesTensorsAsPyTorch()
    {
        Model model = Build("""{ "lstm": { "hidden": 6, "layers": 2, "bidirectional": true, "return": "last" } }, { "dense": 5 }""", [1, 28, 28]);

        Assert.Equal(
            [
                "0.weight_ih_l0", "0.weight_hh_l0", "0.bias_ih_l0", "0.bias_hh_l0", "0.weight_ih_l0_reverse", "0.weight_hh_l0_reverse", "0.bias_ih_l0_reverse", "0.bias_hh_l0_reverse",
                "0.weight_ih_l1", "0.weight_hh_l1", "0.bias_ih_l1", "0.bias_hh_l1", "0.weight_ih_l1_reverse", "0.weight_hh_l1_reverse", "0.bias_ih_l1_reverse", "0.bias_hh_l1_reverse",
                "1.weight", "1.bias",
            ],
            model.Layout.Tensors.Select(t => t.Name));
        Assert.Equal([24, 12], model.Layout.Tensors[8].Shape.AsEnumerable());
    }

    [Theory]
    [InlineData("""{ "lstm": 4 }""", new[] { 8 }, "model: layer 0 (lstm): got an input of shape [8], wanted sequences, [time, features]; put 'embedding' before it, or 'reshape' the input")]
    [InlineData("""{ "dense": 6 }, { "embedding": { "vocabulary": 9, "out": 3 } }""", new[] { 8 }, "model: layer 1 (embedding): got an input of shape [6], wanted token ids straight from the data; put it first")]
    [InlineData("""{ "embedding": { "vocabulary": 9, "out": 3, "padding": 9 } }""", new[] { 8 }, "model: layer 0 (embedding): got an input of shape [8], wanted ids from 0 to 8; 'padding' is 9")]
    [InlineData("""{ "embedding": { "vocabulary": 9, "out": 3, "first": 2, "count": 3 } }""", new[] { 8, 4 }, "model: layer 0 (embedding): got an input of shape [8, 4], wanted 5 ids for each position; 'first' is 2 and 'count' 3")]
    [InlineData("""{ "attention": 3 }""", new[] { 8, 4 }, "model: layer 0 (attention): got an input of shape [8, 4], wanted features that 3 heads divide evenly; 'heads' is 3")]
    [InlineData("""{ "attention": { "heads": 4, "rotary": true } }""", new[] { 8, 4 }, "model: layer 0 (attention): got an input of shape [8, 4], wanted heads of an even number of features for 'rotary'; 4 heads have 1 each")]
    [InlineData("""{ "attention": { "heads": 2, "dropout": 1 } }""", new[] { 8, 4 }, "model: layer 0 (attention): got an input of shape [8, 4], wanted a 'dropout' from 0 to below 1; it is 1")]
    [InlineData("""{ "transformer_block": 3 }""", new[] { 8, 4 }, "model: layer 0.self_attn (attention): got an input of shape [8, 4], wanted features that 3 heads divide evenly; 'heads' is 3")]
    [InlineData("""{ "dense": 4 }, "unembed" """, new[] { 8, 4 }, "model: layer 1 (unembed): got an input of shape [8, 4], wanted exactly one 'embedding' before it; there is none; 'of' says which")]
    [InlineData("""{ "embedding": { "vocabulary": 9, "out": 3 } }, { "unembed": "1" }""", new[] { 8 }, "model: layer 1 (unembed): got an input of shape [8, 3], wanted the 'embedding' 1 before it; there is 0; 'of' says which")]
    [InlineData("""{ "embedding": { "vocabulary": 9, "out": 3 } }, { "dense": 4 }, "unembed" """, new[] { 8 }, "model: layer 2 (unembed): got an input of shape [8, 4], wanted 3 features, as layer 0 (embedding) has; put 'dense: 3' before it")]
    [InlineData("""{ "embedding": { "vocabulary": 3, "out": 3 } }, "unembed", "unembed" """, new[] { 8 }, "model: layer 2 (unembed): got an input of shape [8, 3], wanted a table that no other 'unembed' shares; layer 0 (embedding) has one already")]
    [InlineData("""{ "dense": 4 }""", new[] { 8, 4 }, "loss: softmax_cross_entropy: got a model output of shape [8, 4], wanted [8, 5] because the data has 5 classes; end the model with 'dense: 5'")]
    public void Build_WrongShape_NamesLayerGotAndWanted(string layers, int[] input, string message)
    {
        DistTrainException error = Assert.Throws<DistTrainException>(() => Build(layers, input));

        Assert.Equal(message, error.Message);
        Assert.Equal(ExitCode.BadUsage, error.ExitCode);
    }

    [Theory]
    [InlineData("""{ "softmax_cross_entropy": { "class_weights": [1, 2] } }""", "loss: softmax_cross_entropy: got 2 class weights, wanted 5, one for each class of the data")]
    [InlineData("""{ "softmax_cross_entropy": { "label_smoothing": 1.5 } }""", "job.yaml:7: loss.softmax_cross_entropy.label_smoothing: 1.5 is out of range: expected 0 to 1")]
    [InlineData("""{ "softmax_cross_entropy": { "label_smothing": 0.5 } }""", "job.yaml:7: unknown key 'loss.softmax_cross_entropy.label_smothing'; did you mean 'label_smoothing'?")]
    [InlineData("""{ "softmax_cross_entropy": 3 }""", "job.yaml:7: loss.softmax_cross_entropy: 'softmax_cross_entropy' takes named options, got '3'")]
    public void Build_WrongLoss_SaysWhatIsWanted(string loss, string message) =>
        Assert.Equal(message, Assert.Throws<DistTrainException>(() => Build("""{ "dense": 5 }""", [4], loss: loss)).Message);

    [Theory]
    [InlineData("""{ "lstm": { "hidden": 4, "return": "lst" } }""", "job.yaml:7: model[0].lstm.return: unknown 'return' 'lst'; expected sequence or last; did you mean 'last'?")]
    [InlineData("""{ "positions": "rotary" }""", "job.yaml:7: model[0].positions: unknown positions 'rotary'; expected learned or sinusoidal")]
    public void FromConfig_UnknownWord_NamesThoseThereAre(string layer, string message)
    {
        string got = Assert.Throws<DistTrainException>(() => ModelSpec.FromConfig(Config.Json($"[{layer}]", "model"))).Message;
        Assert.StartsWith(message, got, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(9f, "9")]
    [InlineData(-1f, "-1")]
    [InlineData(2.5f, "2.5")]
    [InlineData(float.NaN, "NaN")]
    public void Forward_IdOutsideTheVocabulary_NamesRowAndPosition(float id, string text)
    {
        using var harness = new Harness(Build("""{ "embedding": { "vocabulary": 9, "out": 3 } }, { "dense": 5 }""", [4]), 3);
        harness.Run.Input[6] = id;

        DistTrainException error = Assert.Throws<DistTrainException>(() => harness.Run.Forward(harness.Weights.Pointer, 3, default));

        Assert.Equal($"layer 0 (embedding): row 1, position 2: got the token id {text}, wanted a whole number from 0 to 8", error.Message);
        Assert.Equal(ExitCode.BadData, error.ExitCode);
    }

    [Theory]
    [InlineData("""{ "lstm": { "hidden": 6, "layers": 2, "bidirectional": true } }, { "dense": 5 }""")]
    [InlineData("""{ "gru": { "hidden": 6, "bidirectional": true, "return": "last" } }, { "dense": 5 }""")]
    [InlineData("""{ "transformer_block": { "heads": 2 } }, "mean_over_time", { "dense": 5 }""")]
    [InlineData("""{ "transformer_block": { "heads": 2, "norm": "post" } }, "unembed" """)]
    public void Step_MorePadding_SameLossAndGradients(string layers)
    {
        (float[] Gradient, SegmentStats Stats) StepOf(int time)
        {
            Model model = Build($$"""{ "embedding": { "vocabulary": 5, "out": 6, "padding": 0 } }, {{layers}}""", [time]);
            using var harness = new Harness(model, 4);
            int[] lengths = [3, 1, 5, 4];
            new Span<float>(harness.Run.Input, 4 * time).Clear();
            int positions = model.LossFunction.Positions;
            for (int row = 0; row < 4; row++)
            {
                for (int t = 0; t < lengths[row]; t++) harness.Run.Input[(row * time) + t] = 1 + ((row + (2 * t)) % 4);
                for (int p = 0; p < positions; p++) harness.Run.Labels[(row * positions) + p] = (row + p) % 5;
            }

            GradientPlan plan = harness.Plan([0, 1, 4], [0, 2]);
            SegmentStats stats = harness.Step(4, plan)[0];
            Assert.Equal(positions == 1 ? 4 : 13, stats.WeightSum);
            Assert.Equal(positions == 1 ? 4 : 13, stats.Predictions);
            return (harness.Gradient(plan, 0), stats);
        }

        (float[] tight, SegmentStats tightStats) = StepOf(5);
        (float[] loose, SegmentStats looseStats) = StepOf(9);

        Assert.Equal(tightStats.LossSum, looseStats.LossSum, 1e-5);
        Assert.Contains(tight, g => Math.Abs(g) > 1e-2);
        for (int i = 0; i < tight.Length; i++) Assert.Equal(tight[i], loose[i], 1e-5);
    }
}
