namespace DistTrain.Nn.Tests;

/// <summary>Networks that have every convolution, pooling, norm, activation and branch, as a job would say them.</summary>
internal static class LayerCases
{
    /// <summary>Those that tests/golden/make_layer_goldens.py has too: the shape of an example, and the layers.</summary>
    public static readonly Dictionary<string, (int[] Input, int Outputs, string Layers)> Golden = new()
    {
        ["lenet"] = ([1, 12, 12], 5, """
            [{"conv": {"out": 6, "kernel": 5, "padding": 2}}, "relu", {"max_pool": 2}, {"conv": {"out": 8, "kernel": 3}}, "relu", {"max_pool": 2},
             "flatten", {"dense": 16}, "relu", {"dense": 5}]
            """),
        ["conv"] = ([4, 9, 7], 3, """
            [{"conv": {"out": 6, "kernel": [3, 2], "stride": [2, 1], "padding": [1, 2], "dilation": [1, 2], "groups": 2}}, {"leaky_relu": 0.1},
             {"conv": {"out": 6, "kernel": 3, "padding": "same", "groups": 6}}, {"elu": 0.7}, {"average_pool": 2}, "flatten", {"dense": 3}]
            """),
        ["conv_transpose"] = ([3, 5, 4], 3, """
            [{"conv_transpose": {"out": 4, "kernel": 3, "stride": 2, "padding": 1, "output_padding": 1}}, "tanh",
             {"conv_transpose": {"out": 2, "kernel": 2, "groups": 2, "dilation": 2, "bias": false}}, "relu", "global_average_pool", {"dense": 3}]
            """),
        ["conv_1d"] = ([10, 4], 3, """
            [{"conv_1d": {"out": 6, "kernel": 3, "padding": "causal", "dilation": 2}}, "silu", {"max_pool": {"kernel": 3, "stride": 2, "padding": 1}},
             {"conv_1d": {"out": 6, "kernel": 3, "stride": 2, "groups": 3}}, "global_max_pool", {"dense": 3}]
            """),
        ["resnet"] = ([3, 8, 8], 5, """
            [{"conv": {"out": 4, "kernel": 3, "padding": 1, "bias": false}}, "batch_norm", "relu",
             {"residual": [{"conv": {"out": 4, "kernel": 3, "padding": 1, "bias": false}}, "batch_norm", "relu",
                           {"conv": {"out": 4, "kernel": 3, "padding": 1, "bias": false}}, "batch_norm"]}, "relu",
             {"residual": {"layers": [{"conv": {"out": 6, "kernel": 3, "stride": 2, "padding": 1, "bias": false}}, "batch_norm", "relu",
                                      {"conv": {"out": 6, "kernel": 3, "padding": 1, "bias": false}}, "batch_norm"],
                           "shortcut": [{"conv": {"out": 6, "kernel": 1, "stride": 2, "bias": false}}, "batch_norm"]}}, "relu",
             {"residual": {"layers": [{"conv": {"out": 8, "kernel": 3, "stride": 2, "padding": 1, "bias": false}}, "batch_norm", "relu",
                                      {"conv": {"out": 8, "kernel": 3, "padding": 1, "bias": false}}, "batch_norm"],
                           "shortcut": [{"conv": {"out": 8, "kernel": 1, "stride": 2, "bias": false}}, "batch_norm"]}}, "relu",
             "global_average_pool", {"dense": 5}]
            """),
        ["batch_norm"] = ([7], 3, """
            [{"dense": {"out": 9, "bias": false}}, {"batch_norm": {"epsilon": 1e-3}}, "gelu", "batch_norm", {"dense": 3}]
            """),
        ["norms"] = ([4, 5, 5], 3, """
            [{"conv": {"out": 6, "kernel": 1}}, {"group_norm": {"groups": 3, "epsilon": 1e-4}}, {"gelu": "tanh"}, "layer_norm", {"prelu": {"per_channel": true}},
             "rms_norm", "softplus", "flatten", {"dense": 8}, "layer_norm", "prelu", {"dense": 3}]
            """),
        ["branches"] = ([2, 6, 6], 3, """
            [{"concat": [[{"conv": {"out": 3, "kernel": 1}}], [{"conv": {"out": 2, "kernel": 3, "padding": 1}}, "relu"], []]},
             {"sum": [[{"conv": {"out": 4, "kernel": 1}}], [{"conv": {"out": 4, "kernel": 3, "padding": 1}}, "tanh"]]},
             "softmax", {"max_pool": {"kernel": 3, "stride": 2, "padding": 1}},
             {"average_pool": {"kernel": 3, "stride": 1, "padding": 1, "count_padding": false}}, "flatten", {"dense": 3}, "log_softmax"]
            """),
    };

    /// <summary>The golden ones, and more that differences and bits are checked of.</summary>
    public static readonly Dictionary<string, (int[] Input, int Outputs, string Layers)> All = new(Golden)
    {
        ["dropout"] = ([40], 3, """[{"dense": 37}, "tanh", {"dropout": 0.3}, {"dense": 20}, {"dropout": 0}, "silu", "dropout", {"dense": 3}]"""),
        ["dropout of images"] = ([2, 5, 7], 3, """[{"conv": {"out": 3, "kernel": 3, "padding": "same", "stride": 2}}, {"dropout": 0.2}, {"conv": {"out": 4, "kernel": 2}}, "global_average_pool", {"dense": 3}]"""),
        ["reshape"] = ([24], 3, """[{"reshape": [2, -1, 4]}, {"conv": {"out": 4, "kernel": 2}}, "sigmoid", {"reshape": [6, 4]}, {"conv_1d": {"out": 4, "kernel": 3, "padding": "same", "bias": false}}, "batch_norm", "flatten", {"reshape": {"to": [2, 3, 4], "channels_last": true}}, {"conv_transpose": {"out": 3, "kernel": 2}}, "flatten", {"dense": 3}]"""),
        ["norms first"] = ([3, 4, 4], 2, """["batch_norm", {"group_norm": 1}, {"conv": {"out": 4, "kernel": 3}}, "global_max_pool", {"dense": 2}]"""),
        ["norms of rows first"] = ([6, 5], 2, """["layer_norm", {"prelu": {"per_channel": true}}, "batch_norm", "rms_norm", "global_average_pool", "softmax", {"dense": 2}]"""),
        ["branches in branches"] = ([6], 3, """
            [{"residual": [{"dense": 6}, {"sum": [["identity"], ["tanh", {"residual": ["softplus"]}], []]}]}, "relu",
             {"concat": [["flatten"], [{"dense": 3}, {"elu": 1}], []]}, {"residual": {"layers": [{"dense": 4}], "shortcut": [{"dense": 4}]}}, {"dense": 3}]
            """),
    };

    public static Model Build(string name)
    {
        (int[] input, int outputs, string layers) = All[name];
        return Model.Build(ModelSpec.FromConfig(Config.Json(layers, "model")), Losses.SquaredError, [.. input], null, outputs);
    }
}
