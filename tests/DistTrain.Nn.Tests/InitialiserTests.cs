using DistTrain.Core.Layout;

namespace DistTrain.Nn.Tests;

public sealed class InitialiserTests
{
    private const int In = 300;
    private const int Out = 200;

    public static TheoryData<string, double, bool> Distributions() => new()
    {
        { "\"glorot_uniform\"", 2.0 / (In + Out), true },
        { "\"glorot_normal\"", 2.0 / (In + Out), false },
        { "\"he_uniform\"", 2.0 / In, true },
        { "\"he_normal\"", 2.0 / In, false },
        { "{ \"uniform\": 0.3 }", 0.3 * 0.3 / 3, true },
        { "{ \"uniform\": { \"limit\": 0.3 } }", 0.3 * 0.3 / 3, true },
        { "{ \"normal\": { \"std\": 0.02 } }", 0.02 * 0.02, false },
    };

    [Theory]
    [MemberData(nameof(Distributions))]
    public void Fill_ManyValues_HasTheDistribution(string json, double variance, bool uniform)
    {
        float[] w = Weights(Initialiser.FromConfig(Config.Json(json, "init")));
        double std = Math.Sqrt(variance);

        // 60,000 values: the mean's own deviation is std / 245, the variance's about 0.6 %.
        Assert.Equal(0, w.Average(), std / 50);
        Assert.Equal(1, w.Average(v => v * v) / variance, 0.03);
        double bound = Math.Sqrt(3) * std;
        double beyond = w.Count(v => Math.Abs(v) > bound * 1.0001) / (double)w.Length;
        // Of a normal distribution, 8.3 % lies beyond √3 deviations; quarters below and above the quartiles in both.
        Assert.Equal(uniform ? 0 : 0.0833, beyond, uniform ? 0 : 0.006);
        double quartile = uniform ? bound / 2 : 0.6745 * std;
        Assert.Equal(0.25, w.Count(v => v > quartile) / (double)w.Length, 0.01);
        Assert.Equal(0.25, w.Count(v => v < -quartile) / (double)w.Length, 0.01);
    }

    [Fact]
    public void Fill_Neighbours_AreUncorrelated()
    {
        float[] w = Weights(Initialisers.Normal(1));

        for (int lag = 1; lag <= 5; lag++) Assert.Equal(0, w.Skip(lag).Zip(w, (a, b) => a * b).Average(), 0.02);
    }

    [Fact]
    public void FromConfig_Constants_AreRead()
    {
        Assert.Equal(Initialisers.Zeros, Initialiser.FromConfig(Config.Json("\"zeros\"", "init")));
        Assert.Equal(Initialisers.Constant(0.5), Initialiser.FromConfig(Config.Json("{ \"constant\": 0.5 }", "init")));
        Assert.All(Weights(Initialisers.Constant(0.5)), v => Assert.Equal(0.5f, v));
    }

    [Fact]
    public void Dense_NoInitialiserGiven_TakesHeBeforeReluAndGlorotElsewhere()
    {
        Model model = Model.Build(
            new([Layers.Dense(100), Layers.Relu(), Layers.Dense(100), Layers.Tanh(), Layers.Dense(100)]), Losses.SoftmaxCrossEntropy, [100], 100, 0);
        var w = new float[model.Layout.Length];
        model.Initialise(1, 0, w);

        Assert.Equal(2.0 / 100, Variance(w, model, "0.weight"), 1e-3);
        Assert.Equal(2.0 / 200, Variance(w, model, "2.weight"), 5e-4);
        Assert.Equal(2.0 / 200, Variance(w, model, "4.weight"), 5e-4);
        Assert.True(Tensor(w, model, "2.weight").Max() <= Math.Sqrt(6.0 / 200));
        Assert.All(Tensor(w, model, "0.bias"), b => Assert.Equal(0, b));
    }

    [Fact]
    public void Initialise_AnyRange_EqualsTheWhole()
    {
        Model model = Model.Build(
            new([Layers.Dense(7, init: Initialisers.HeNormal), Layers.Tanh(), Layers.Dense(9, biasInit: Initialisers.Constant(2))]), Losses.SquaredError, [5], null, 9);
        int length = (int)model.Layout.Length;
        var whole = new float[length];
        model.Initialise(42, 0, whole);

        for (int from = 0; from < length; from += 3)
        {
            for (int to = from; to <= length; to += 11)
            {
                var part = new float[to - from];
                Array.Fill(part, float.NaN);
                model.Initialise(42, from, part);
                Assert.Equal(whole[from..to], part);
            }
        }

        for (int i = 0; i < length; i++)
        {
            if (!model.Layout.Tensors.Any(t => t.Offset <= i && i < t.End)) Assert.Equal(0, whole[i]);
        }
    }

    [Fact]
    public void Initialise_OtherSeedOrTensor_OtherValues()
    {
        Model model = Model.Build(new([Layers.Dense(8), Layers.Dense(8)]), Losses.SquaredError, [8], null, 8);
        var one = new float[model.Layout.Length];
        var two = new float[model.Layout.Length];
        model.Initialise(1, 0, one);
        model.Initialise(2, 0, two);

        Assert.NotEqual(Tensor(one, model, "0.weight"), Tensor(two, model, "0.weight"));
        Assert.NotEqual(Tensor(one, model, "0.weight"), Tensor(one, model, "1.weight"));
    }

    private static float[] Weights(Initialiser init)
    {
        Model model = Model.Build(new([Layers.Dense(Out, bias: false, init)]), Losses.SquaredError, [In], null, Out);
        var w = new float[model.Layout.Length];
        model.Initialise(7, 0, w);
        return w;
    }

    private static float[] Tensor(float[] flat, Model model, string name)
    {
        TensorEntry tensor = model.Layout.Tensors.Single(t => t.Name == name);
        return flat[(int)tensor.Offset..(int)tensor.End];
    }

    private static double Variance(float[] flat, Model model, string name) => Tensor(flat, model, name).Average(v => (double)v * v);
}
