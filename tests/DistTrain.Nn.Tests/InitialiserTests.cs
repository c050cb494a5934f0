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
        { "\"lecun_uniform\"", 1.0 / In, true },
        { "\"lecun_normal\"", 1.0 / In, false },
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
            new([Layers.Dense(7, init: Initialisers.HeNormal), Layers.Dense(6, init: Initialisers.Orthogonal()), Layers.Dense(9, init: Initialisers.TruncatedNormal(1, cut: 0.5), biasInit: Initialisers.Constant(2))]),
            Losses.SquaredError, [5], null, 9);
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

    [Theory]
    [InlineData(40, 70)]
    [InlineData(70, 40)]
    [InlineData(65, 65)]
    [InlineData(1, 9)]
    public void Orthogonal_AnyShape_FewerOfRowsAndColumnsAreOrthonormal(int rows, int columns)
    {
        float[] w = Weights(Initialiser.FromConfig(Config.Json("{ \"orthogonal\": { \"gain\": 1.5 } }", "init")), columns, rows);

        int count = Math.Min(rows, columns), length = Math.Max(rows, columns);
        double At(int vector, int k) => rows <= columns ? w[(vector * columns) + k] : w[(k * columns) + vector];
        for (int i = 0; i < count; i++)
        {
            for (int j = 0; j <= i; j++)
            {
                double product = Enumerable.Range(0, length).Sum(k => At(i, k) * At(j, k));
                Assert.Equal(i == j ? 1.5 * 1.5 : 0, product, 1e-6);
            }
        }

        Assert.Equal(w, Plainly(rows, columns, 1.5));
    }

    [Fact]
    public void TruncatedNormal_ManyValues_StaysWithinTheCutAndKeepsWhatLiesThere()
    {
        float[] w = Weights(Initialiser.FromConfig(Config.Json("{ \"truncated_normal\": { \"std\": 0.5, \"mean\": 0.25, \"cut\": 2 } }", "init")));
        float[] whole = Weights(Initialisers.Normal(1));

        // The variance between ±2 deviations is 0.7737 of the whole.
        Assert.All(w, v => Assert.InRange(v, -0.75f, 1.25f));
        Assert.Equal(0.25, w.Average(), 0.01);
        Assert.Equal(0.7737 * 0.25, w.Average(v => Math.Pow(v - 0.25, 2)), 0.005);
        Assert.Equal(w.Length - whole.Count(z => Math.Abs(z) > 2), w.Zip(whole).Count(p => p.First == MathF.FusedMultiplyAdd(p.Second, 0.5f, 0.25f)));
    }

    // The same process in plain double arithmetic, a sum of products in 8 lanes.
    private static float[] Plainly(int rows, int columns, double gain)
    {
        float[] random = Weights(Initialisers.Normal(1), columns, rows);
        bool wide = rows <= columns;
        int count = Math.Min(rows, columns), length = Math.Max(rows, columns);
        int Place(int vector, int k) => wide ? (vector * columns) + k : (k * columns) + vector;
        double[][] vectors = [.. Enumerable.Range(0, count).Select(i => Enumerable.Range(0, length).Select(k => (double)random[Place(i, k)]).ToArray())];
        double Dot(double[] a, double[] b)
        {
            var s = new double[8];
            for (int k = 0; k < length; k++) s[k % 8] += a[k] * b[k];
            return ((s[0] + s[4]) + (s[2] + s[6])) + ((s[1] + s[5]) + (s[3] + s[7]));
        }

        var result = new float[rows * columns];
        for (int i = 0; i < count; i++)
        {
            for (int j = 0; j < 2 * i; j++)
            {
                double share = Dot(vectors[j % i], vectors[i]);
                for (int k = 0; k < length; k++) vectors[i][k] -= vectors[j % i][k] * share;
            }

            double norm = Math.Sqrt(Dot(vectors[i], vectors[i]));
            for (int k = 0; k < length; k++) vectors[i][k] /= norm;
            for (int k = 0; k < length; k++) result[Place(i, k)] = (float)(vectors[i][k] * gain);
        }

        return result;
    }

    private static float[] Weights(Initialiser init, int inputs = In, int outputs = Out)
    {
        Model model = Model.Build(new([Layers.Dense(outputs, bias: false, init)]), Losses.SquaredError, [inputs], null, outputs);
        var w = new float[model.Layout.Length];
        model.Initialise(7, 0, w);
        return w[..(inputs * outputs)];
    }

    private static float[] Tensor(float[] flat, Model model, string name)
    {
        TensorEntry tensor = model.Layout.Tensors.Single(t => t.Name == name);
        return flat[(int)tensor.Offset..(int)tensor.End];
    }

    private static double Variance(float[] flat, Model model, string name) => Tensor(flat, model, name).Average(v => (double)v * v);
}
