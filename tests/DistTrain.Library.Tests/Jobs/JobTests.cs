using DistTrain.Core.Config;
using DistTrain.Data;
using DistTrain.Jobs;
using DistTrain.Nn;
using DistTrain.Optim;
using DistTrain.Training;

namespace DistTrain.Tests.Jobs;

public class JobTests
{
    private const string Text = "data: { path: a.csv, label: kind }\nmodel: [dense: 64, relu, dense: 10]\n";

    public static TheoryData<string> ShippedJobs()
    {
        string directory = AppContext.BaseDirectory;
        while (!File.Exists(Path.Combine(directory, "DistTrain.sln"))) directory = Path.GetDirectoryName(directory)!;
        return [.. Directory.GetFiles(Path.Combine(directory, "deploy", "jobs"), "*.yaml")];
    }

    [Theory]
    [MemberData(nameof(ShippedJobs))]
    public void ToYaml_ShippedJob_ReadsBackTheSame(string file) => AssertRoundTrip(JobReader.Load(file));

    private static LayerSpec[] SequenceLayers =>
    [
        Layers.Embedding(100, 8), new EmbeddingSpec(100, 8, 0, 1, 2, Initialisers.Normal(0.02)), Layers.Unembed(), Layers.Unembed("0", bias: true),
        Layers.Positions(), Layers.Positions(PositionKind.Learned, Initialisers.Normal(0.02)), Layers.Positions(PositionKind.Sinusoidal), Layers.MeanOverTime(),
        Layers.Rnn(4), Layers.Rnn(4, relu: true), Layers.Lstm(4, 2, bidirectional: true, RecurrentReturn.Last),
        new GruSpec(4, 3, Bias: false, Init: Initialisers.GlorotUniform, RecurrentInit: Initialisers.HeNormal, BiasInit: Initialisers.Zeros),
        Layers.Attention(4), Layers.Attention(4, causal: true, bias: false, rotary: true, Initialisers.Normal(0.02)),
        Layers.TransformerBlock(4), new TransformerBlockSpec(4, 64, NormPlace.Post, BlockActivation.Relu, true, false, true, 0.1, Initialisers.Normal(0.02)),
    ];

    [Fact]
    public void ToYaml_EveryLayerAndInitialiser_ReadsBackTheSame()
    {
        Initialiser[] initialisers =
        [
            Initialisers.GlorotUniform, Initialisers.GlorotNormal, Initialisers.HeUniform, Initialisers.HeNormal, Initialisers.Zeros,
            Initialisers.Constant(0.1), Initialisers.Uniform(1e-3), Initialisers.Normal(0.02),
            Initialisers.LeCunUniform, Initialisers.LeCunNormal, Initialisers.Orthogonal(1.4), Initialisers.TruncatedNormal(0.02, 0.1, 1.5), Initialisers.Ones,
        ];
        List<LayerSpec> layers = [.. initialisers.Select(i => Layers.Dense(3, bias: false, i, i)), Layers.Flatten(), Layers.Identity(), Layers.Relu(), Layers.Sigmoid(), Layers.Tanh(), .. ImageLayers.All, .. SequenceLayers];
        AssertCovers(typeof(LayerSpec), layers);
        AssertCovers(typeof(Initialiser), initialisers);
        AssertRoundTrip(new Job { Model = new ModelSpec([.. layers]) });
    }

    [Fact]
    public void ToYaml_EveryOptimizerScheduleAndLoss_ReadsBackTheSame()
    {
        OptimizerSpec[] optimizers = [new SgdSpec(1.0 / 3, 0, false, 1e-4), new SgdSpec(0.1, 0.9, true), AdamSpec.Adam with { Epsilon = 1e-30 }, AdamSpec.AdamW with { DecaysBiases = false },
            new RmsPropSpec(0.1, 0.8, 1e-7, 0.5, 0.25, true), new AdagradSpec(0.2, 1e-9, 0.5), new LionSpec(1e-3, 0.8, 0.95, 0.1),
            new LarsSpec(0.5, 0.8, 1e-4, 1e-2, 1e-9), new LambSpec(0.01, 0.8, 0.95, 1e-7, 0.1) { Groups = new([new("*.bias", 0.1, 0), new("0", Frozen: true)]) }];
        ScheduleSpec[] schedules = [new ConstantSchedule(3), new CosineSchedule(200, 0.01), new StepSchedule(1000, 0.3, 5),
            new CosineSchedule(1, 0.5, 30, 2), new MultiStepSchedule([10, 20], 0.5, 2), new ExponentialSchedule(0.99, 1),
            new PolynomialSchedule(2, 0.1, 3), new OneCycleSchedule(0.2, 0.1, 0.01), new PlateauSchedule(0.5, 3, 0.01, 2, 0.001, 4)];
        LossSpec[] losses = [Losses.SoftmaxCrossEntropy, Losses.SoftmaxCrossEntropyWith(0.1, [0.5, 2, 1.0 / 3], -100), Losses.SoftmaxCrossEntropyWith(ignoreIndex: 0), Losses.SquaredError,
            Losses.HalfSquaredError, Losses.AbsoluteError, Losses.Huber(0.3), Losses.BinaryCrossEntropy, Losses.KlDivergence, Losses.Hinge(2)];
        AssertCovers(typeof(OptimizerSpec), optimizers);
        AssertCovers(typeof(ScheduleSpec), schedules);
        AssertCovers(typeof(LossSpec), losses);
        Job job = JobReader.Load(null);
        foreach (OptimizerSpec optimizer in optimizers) AssertRoundTrip(job with { Optimizer = optimizer });
        foreach (ScheduleSpec schedule in schedules) AssertRoundTrip(job with { Schedule = schedule });
        AssertRoundTrip(job with { Batch = new() { Size = 64, Shards = 16, MicroSize = 8 } });
        AssertRoundTrip(job with { Training = job.Training with { ClipNorm = 1.0 / 3, ClipValue = 0.5, L1 = 1e-5, Precision = Kernels.FloatFormat.Float16 } });
        AssertRoundTrip(job with { Training = job.Training with { EarlyStopping = new(3, 1.0 / 3, MonitoredFigure.Accuracy) } });
        foreach (Consistency consistency in (Consistency[])[Consistency.Async, Consistency.Ssp(7)])
        {
            AssertRoundTrip(job with { Cluster = job.Cluster with { Consistency = consistency }, Training = job.Training with { WatchEvery = 0 } });
        }

        foreach (LossSpec loss in losses) AssertRoundTrip(job with { Loss = loss });
    }

    [Fact]
    public void ToYaml_EveryKeyOfData_ReadsBackTheSame() => AssertRoundTrip(JobReader.Load(null) with
    {
        Data = new DataSource
        {
            Name = "csv",
            Path = "~/a b: c.csv",
            TestPath = "-t",
            LabelsPath = "#l",
            Header = false,
            Label = "-1",
            Targets = ["x", "null"],
            Ignore = ["0"],
            Delimiter = ";",
            Classes = 7,
            Standardize = true,
            Scale = 0.1,
            TestFraction = 1.0 / 7,
            Context = 7,
            Stride = 3,
            Vocabulary = "characters",
            Length = 9,
            MinCount = 3,
            Prefix = 2,
            Suffix = 1,
            Augment =
            [
                new FlipAugment(1.0 / 3), new CropAugment(4), new ShiftAugment(1.5), new RotateAugment(10), new ScaleAugment(0.9, 1.1),
                new BrightnessAugment(0.1), new NoiseAugment(0.05), new CutoutAugment(8),
                new MixupAugment(0.3), new CutMixAugment(2, 0.5),
            ],
        },
    });

    [Theory]
    [InlineData("seed=2")]
    [InlineData("data.label=other")]
    [InlineData("data.standardize=true")]
    [InlineData("data.test_fraction=0.5")]
    [InlineData("data.augment=[flip]")]
    [InlineData("data.augment=[mixup]")]
    [InlineData("model.0.dense=65")]
    [InlineData("model.1=tanh")]
    [InlineData("loss=squared_error")]
    [InlineData("optimizer=sgd")]
    [InlineData("optimizer.adam.learning_rate=0.0010000001")]
    [InlineData("schedule=cosine")]
    [InlineData("schedule=plateau")]
    [InlineData("batch.size=129")]
    [InlineData("batch.shards=9")]
    [InlineData("training.l1=0.001")]
    [InlineData("training.precision=bf16")]
    [InlineData("training.ema=0.99")]
    [InlineData("cluster.consistency=async")]
    [InlineData("cluster.consistency={ ssp: { bound: 1 } }")]
    [InlineData("optimizer.adam.groups=[{ match: '0', frozen: true }]")]
    public void Hash_WhatDecidesTheBits_ChangesIt(string change) => Assert.NotEqual(Hash(), Hash(change));

    [Theory]
    [InlineData("name=other")]
    [InlineData("data.path=/elsewhere/b.csv")]
    [InlineData("data.name=csv")]
    [InlineData("cluster={ consistency: { ssp: 0 } }")]
    [InlineData("cluster={ consistency: sync }")]
    [InlineData("cluster={ workers: 9, servers: 3, threads: 2, failure_timeout: 9s, bucket_length: 4096, connections: 4 }")]
    [InlineData("checkpoint={ path: x, every: 3 steps, keep: 1 }")]
    [InlineData("batch.micro_size=32")]
    [InlineData("training={ epochs: 99, max_steps: 7, early_stopping: { patience: 2 } }")]
    [InlineData("optimizer.adam.learning_rate=0.001")]
    public void Hash_WhatDoesNot_LeavesIt(string change) => Assert.Equal(Hash(), Hash(change));

    [Fact]
    public void Hash_LengthOfTraining_CountsWhereTheScheduleLooksAtIt()
    {
        Assert.NotEqual(Hash("schedule=cosine"), Hash("schedule=cosine", "training.epochs=99"));
        Assert.NotEqual(Hash("schedule=cosine"), Hash("schedule=cosine", "training.max_steps=99"));
        Assert.Equal(Hash("schedule.step.every=5"), Hash("schedule.step.every=5", "training.epochs=99"));
    }

    [Fact]
    public void Hash_AJob_NeverChanges() =>
        // Checkpoints and handshakes hold it: changing how it is made needs a new first line in its text.
        Assert.Equal("125c9d853d094a555be3eb1e7efc23536c68340c5e46cf3df9f65f82e956eeef", Hash());

    [Theory]
    [InlineData("5 minutes", 300)]
    [InlineData("90s", 90)]
    [InlineData("1.5 h", 5400)]
    public void CheckpointInterval_InTime_IsAPeriod(string text, double seconds)
    {
        CheckpointInterval interval = CheckpointInterval.FromConfig(ConfigNode.NewScalar(text, "", ""));
        Assert.Equal((TimeSpan.FromSeconds(seconds), 0), (interval.Period, interval.ToSteps(stepsPerEpoch: 12)));
        Assert.Equal(interval, CheckpointInterval.FromConfig(ConfigNode.NewScalar(interval.ToString(), "", "")));
    }

    [Theory]
    [InlineData("500", 500)]
    [InlineData("1_000 steps", 1000)]
    [InlineData("1 step", 1)]
    [InlineData("epoch", 12)]
    [InlineData("2 epochs", 24)]
    [InlineData("end", 0)]
    public void CheckpointInterval_AsWritten_IsSteps(string text, long steps)
    {
        CheckpointInterval interval = CheckpointInterval.FromConfig(ConfigNode.NewScalar(text, "", ""));
        Assert.Equal(steps, interval.ToSteps(stepsPerEpoch: 12));
        Assert.Equal(interval, CheckpointInterval.FromConfig(ConfigNode.NewScalar(interval.ToString(), "", "")));
    }

    [Fact]
    public void TotalSteps_WithLimit_IsTheSmaller()
    {
        Assert.Equal(120, new TrainingOptions { Epochs = 10 }.TotalSteps(12));
        Assert.Equal(7, new TrainingOptions { Epochs = 10, MaxSteps = 7 }.TotalSteps(12));
        Assert.Equal(120, new TrainingOptions { Epochs = 10, MaxSteps = 1000 }.TotalSteps(12));
    }

    private static string Hash(params string[] overrides) => JobReader.Parse(Text, "job.yaml", overrides).Hash;

    private static void AssertRoundTrip(Job job)
    {
        string yaml = job.ToYaml();
        Job back = JobReader.Parse(yaml, "resolved");
        Assert.Equal(yaml, back.ToYaml());
        Assert.Equal(job.Hash, back.Hash);
        Assert.Equal((job.Model, job.Loss, job.Optimizer, job.Schedule), (back.Model, back.Loss, back.Optimizer, back.Schedule));
        Assert.Equal((job.Batch, job.Training, job.Cluster, job.Checkpoint), (back.Batch, back.Training, back.Cluster, back.Checkpoint));
        Assert.Equal(job.Data with { Targets = [], Ignore = [], Augment = [] }, back.Data with { Targets = [], Ignore = [], Augment = [] });
        Assert.Equal(job.Data.Augment, back.Data.Augment);
        Assert.Equal(job.Data.Targets, back.Data.Targets);
        Assert.Equal(job.Data.Ignore, back.Data.Ignore);
    }

    /// <summary>Fails when a kind was added that no case here uses.</summary>
    private static void AssertCovers(Type kind, IEnumerable<object> cases) => Assert.Equal(
        kind.Assembly.GetTypes().Where(t => t.IsSubclassOf(kind) && !t.IsAbstract && !t.IsNestedPrivate).Select(t => t.Name).Order(StringComparer.Ordinal),
        cases.Select(c => c.GetType().Name).Distinct().Order(StringComparer.Ordinal));
}
