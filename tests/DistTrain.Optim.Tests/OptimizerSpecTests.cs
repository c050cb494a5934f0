using DistTrain.Core;

namespace DistTrain.Optim.Tests;

public sealed class OptimizerSpecTests
{
    [Fact]
    public void FromConfig_NamesAlone_HaveDefaults()
    {
        Assert.Equal(new SgdSpec(0.01, 0.9), Read("\"sgd\""));
        Assert.Equal(new AdamSpec(1e-3, 0.9, 0.999, 1e-8, 0), Read("\"adam\""));
        Assert.Equal(new AdamSpec(1e-3, 0.9, 0.999, 1e-8, 0.01, Decoupled: true), Read("{ \"adamw\": null }"));
    }

    [Fact]
    public void FromConfig_AllOptions_AreRead()
    {
        Assert.Equal(
            new SgdSpec(0.5, 0.8, Nesterov: true, WeightDecay: 1e-4),
            Read("{ \"sgd\": { \"learning_rate\": 0.5, \"momentum\": 0.8, \"nesterov\": true, \"weight_decay\": 1e-4 } }"));
        Assert.Equal(
            new AdamSpec(0.002, 0.8, 0.99, 1e-6, 0.1),
            Read("{ \"adam\": { \"learning_rate\": 2e-3, \"betas\": [0.8, 0.99], \"epsilon\": 1e-6, \"weight_decay\": 0.1 } }"));
        Assert.Equal(
            new AdamSpec(1e-3, 0.7, 0.98, 1e-8, 0.01, Decoupled: true),
            Read("{ \"adamw\": { \"beta1\": 0.7, \"beta2\": 0.98 } }"));
    }

    [Fact]
    public void StateVectors_EachOptimizer_AreNamed()
    {
        Assert.Equal(["momentum"], new SgdSpec().StateVectors.AsEnumerable());
        Assert.Empty(new SgdSpec(Momentum: 0).StateVectors);
        Assert.Equal(["exp_avg", "exp_avg_sq"], AdamSpec.Adam.StateVectors.AsEnumerable());
        Assert.Equal(["sgd", "adam", "adamw"], ((OptimizerSpec[])[new SgdSpec(), AdamSpec.Adam, AdamSpec.AdamW]).Select(o => o.Name));
    }

    [Theory]
    [InlineData("\"adamm\"", "job.yaml:7: optimizer: unknown optimizer 'adamm'; did you mean 'adam'?")]
    [InlineData("{ \"sgd\": 0.1 }", "job.yaml:7: optimizer.sgd: 'sgd' takes named options such as 'learning_rate', got '0.1'")]
    [InlineData("{ \"sgd\": { \"lerning_rate\": 0.1 } }", "job.yaml:7: unknown key 'optimizer.sgd.lerning_rate'; did you mean 'learning_rate'?")]
    [InlineData("{ \"sgd\": { \"learning_rate\": -0.1 } }", "job.yaml:7: optimizer.sgd.learning_rate: -0.1 is out of range: expected at least 0")]
    [InlineData("{ \"sgd\": { \"momentum\": 2 } }", "job.yaml:7: optimizer.sgd.momentum: 2 is out of range: expected 0 to 1")]
    [InlineData("{ \"sgd\": { \"momentum\": 0, \"nesterov\": true } }", "job.yaml:7: optimizer.sgd: 'nesterov: true' looks ahead along the momentum, got 'momentum: 0'")]
    [InlineData("{ \"adam\": { \"betas\": [0.9] } }", "job.yaml:7: optimizer.adam.betas: expected two numbers such as [0.9, 0.999], got a list of 1")]
    [InlineData("{ \"adam\": { \"betas\": [0.9, 0.99], \"beta1\": 0.8 } }", "job.yaml:7: optimizer.adam.betas: 'betas' says what 'beta1' and 'beta2' say; give one or the other")]
    [InlineData("{ \"adam\": [1] }", "job.yaml:7: optimizer.adam: expected a map with the key 'beta1', got a list")]
    public void FromConfig_Mistake_NamesPlaceAndRemedy(string json, string message)
    {
        DistTrainException error = Assert.Throws<DistTrainException>(() => Read(json));

        Assert.Equal(message, error.Message);
        Assert.Equal(ExitCode.BadUsage, error.ExitCode);
    }

    private static OptimizerSpec Read(string json) => OptimizerSpec.FromConfig(Config.Json(json, "optimizer"));
}
