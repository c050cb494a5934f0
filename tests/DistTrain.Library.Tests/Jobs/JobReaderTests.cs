using DistTrain.Core;
using DistTrain.Jobs;
using DistTrain.Nn;
using DistTrain.Optim;

namespace DistTrain.Tests.Jobs;

public class JobReaderTests
{
    private const string Least = "data: digits\nmodel: [flatten, dense: 10]\n";

    [Fact]
    public void Parse_LeastJob_HasBeginnersDefaults()
    {
        Job job = JobReader.Parse(Least, "job.yaml");
        Assert.Equal(("job", 1UL, "digits"), (job.Name, job.Seed, job.Data.Name));
        Assert.Equal((128, 8), (job.Batch.Size, job.Batch.Shards));
        Assert.Equal((4, 1, 1, TimeSpan.FromSeconds(3), null), (job.Cluster.Workers, job.Cluster.Servers, job.Cluster.Threads, job.Cluster.FailureTimeout, job.Cluster.BucketLength));
        Assert.Equal((10, null), (job.Training.Epochs, job.Training.MaxSteps));
        Assert.Equal((CheckpointInterval.Epochs(1), 3), (job.Checkpoint.Every, job.Checkpoint.Keep));
        Assert.Equal(Path.Combine("runs", "job"), job.RunDirectory);
        Assert.Equal(Losses.SoftmaxCrossEntropy, job.Loss);
        Assert.Equal(AdamSpec.Adam, job.Optimizer);
        Assert.Equal(new ConstantSchedule(), job.Schedule);
    }

    [Fact]
    public void Parse_RealTargetsWithoutLoss_MinimisesSquaredError() =>
        Assert.Equal(Losses.SquaredError, JobReader.Parse("data: { path: a.csv, targets: [y] }\nmodel: [dense: 1]", "job.yaml").Loss);

    [Fact]
    public void Parse_EverySection_IsRead()
    {
        Job job = JobReader.Parse(
            """
            name: big.one
            seed: 18446744073709551615
            data: { name: csv, path: a.csv, test_path: b.csv, header: true, label: kind, ignore: [id, when], delimiter: tab, classes: 3, standardize: true, scale: 0.5 }
            model:
              - dense: { out: 7, init: he_normal, bias: false }
              - tanh
              - dense: 3
            loss: softmax_cross_entropy
            optimizer: { sgd: { learning_rate: 0.5, momentum: 0.25, nesterov: true, weight_decay: 1e-4 } }
            schedule: { cosine: { warmup_steps: 5, final_factor: 0.1 } }
            batch: { size: 1_000, shards: 16 }
            training: { epochs: 3, max_steps: 77, ema: 0.99, early_stopping: { patience: 4, minimum_change: 0.01, monitor: accuracy } }
            cluster: { workers: 9, servers: 2, threads: 3, failure_timeout: 500ms, bucket_length: 8192, connections: 4, verify: 0.01 }
            checkpoint: { path: ~/runs/x, every: 500 steps, keep: 7 }
            """,
            "job.yaml");
        Assert.Equal(("big.one", ulong.MaxValue), (job.Name, job.Seed));
        Assert.Equal(("csv", "a.csv", "b.csv", true, "kind", "tab", 3, true, 0.5), (job.Data.Name, job.Data.Path, job.Data.TestPath, job.Data.Header, job.Data.Label, job.Data.Delimiter, job.Data.Classes, job.Data.Standardize, job.Data.Scale));
        Assert.Equal(["id", "when"], job.Data.Ignore);
        Assert.Equal(new ModelSpec([Layers.Dense(7, bias: false, init: Initialisers.HeNormal), Layers.Tanh(), Layers.Dense(3)]), job.Model);
        Assert.Equal(new SgdSpec(0.5, 0.25, true, 1e-4), job.Optimizer);
        Assert.Equal(new CosineSchedule(5, 0.1), job.Schedule);
        Assert.Equal(new BatchOptions { Size = 1000, Shards = 16 }, job.Batch);
        Assert.Equal(new TrainingOptions { Epochs = 3, MaxSteps = 77, Ema = 0.99, EarlyStopping = new(4, 0.01, MonitoredFigure.Accuracy) }, job.Training);
        Assert.Equal(new ClusterOptions { Workers = 9, Servers = 2, Threads = 3, FailureTimeout = TimeSpan.FromMilliseconds(500), BucketLength = 8192, Connections = 4, Verify = 0.01 }, job.Cluster);
        Assert.Equal((CheckpointInterval.Steps(500), 7), (job.Checkpoint.Every, job.Checkpoint.Keep));
        Assert.DoesNotContain("~", job.RunDirectory, StringComparison.Ordinal);
    }

    // Each row appends lines to a job of two, so that what is wrong stands in line 3 or below.
    [Theory]
    [InlineData("optimizer: { adam: { learning_rat: 1 } }", "job.yaml:3: unknown key 'optimizer.adam.learning_rat'; did you mean 'learning_rate'?")]
    [InlineData("optimizer:\n  adam:\n    learning_rate: fast", "job.yaml:5: optimizer.adam.learning_rate: expected a number, got 'fast'")]
    [InlineData("optimiser: adam", "job.yaml:3: unknown key 'optimiser'; did you mean 'optimizer'?")]
    [InlineData("optimizer: adm", "job.yaml:3: optimizer: unknown optimizer 'adm'; did you mean 'adam'?")]
    [InlineData("batch: { size: 0 }", "job.yaml:3: batch.size: 0 is out of range: expected 1 to 16777216")]
    [InlineData("batch: { size: 12.5 }", "job.yaml:3: batch.size: expected an integer, got '12.5'")]
    [InlineData("batch: [8]", "job.yaml:3: batch: expected a map with the key 'size', got a list")]
    [InlineData("batch: { shard: 8 }", "job.yaml:3: unknown key 'batch.shard'; did you mean 'shards'?")]
    [InlineData("batch: { size: 100, micro_size: 12 }", "job.yaml:3: batch.micro_size: expected at least 13, the examples of one of 8 shards of 100, got '12'; raise 'batch.shards' for smaller ones")]
    [InlineData("optimizer: { sgd: { groups: { match: a } } }", "job.yaml:3: optimizer.sgd.groups: expected a list of groups such as [{ match: '*.bias', weight_decay: 0 }], got a map")]
    [InlineData("training: { precision: half }", "job.yaml:3: training.precision: expected fp32, bf16 or fp16, got 'half'")]
    [InlineData("wire: bf16", "job.yaml:3: wire: expected a map with the key 'gradients', got 'bf16'")]
    [InlineData("wire: { gradients: int7 }", "job.yaml:3: wire.gradients: unknown format 'int7'; did you mean 'int8'?")]
    [InlineData("wire: { gradients: { int8: { fraction: 0.1 } } }", "job.yaml:3: wire.gradients.int8: 'int8' takes no options, got a map")]
    [InlineData("wire: { gradients: { top_k: { fraction: 0.6 } } }", "job.yaml:3: wire.gradients.top_k.fraction: 0.6 is out of range: expected 1E-06 to 0.5")]
    [InlineData("wire: { gradients: { top_k: { share: 0.1 } } }", "job.yaml:3: unknown key 'wire.gradients.top_k.share'; allowed: fraction")]
    [InlineData("wire: { weights: int8 }", "job.yaml:3: wire.weights: expected fp32, bf16 or fp16, got 'int8'")]
    [InlineData("wire: { gradient: bf16 }", "job.yaml:3: unknown key 'wire.gradient'; did you mean 'gradients'?")]
    [InlineData("training: { precision: fp16 }\nwire: { gradients: top_k }", "job.yaml:4: wire.gradients: 'top_k' does not go with training.precision: fp16, whose loss scale changes while gradients are held back under the old one; take bf16, or wire.gradients: int8")]
    [InlineData("cluster: { verify: 0.1 }\nwire: { gradients: top_k }", "job.yaml:4: wire.gradients: 'top_k' does not go with cluster.verify: what a worker holds back is its own, so that nobody else comes to the same bits")]
    [InlineData("cluster: { consistency: async, verify: 0.1 }", "job.yaml:3: cluster.verify: to compare shards' bits needs consistency: sync, because elsewhere weights depend on timing")]
    [InlineData("cluster: { verify: 1.1 }", "job.yaml:3: cluster.verify: 1.1 is out of range: expected 0 to 1")]
    [InlineData("training: { clipnorm: 1 }", "job.yaml:3: unknown key 'training.clipnorm'; did you mean 'clip_norm'?")]
    [InlineData("cluster: { consistent: sync }", "job.yaml:3: unknown key 'cluster.consistent'; did you mean 'consistency'?")]
    [InlineData("cluster: { consistency: asynchronous }", "job.yaml:3: cluster.consistency: unknown consistency 'asynchronous'; allowed: sync, async, ssp, local_sgd")]
    [InlineData("cluster: { consistency: ssp }", "job.yaml:3: cluster.consistency: 'ssp' needs a bound: how many steps a worker's weights may lack, such as { ssp: { bound: 3 } }")]
    [InlineData("cluster: { consistency: { ssp: { bound: -1 } } }", "job.yaml:3: cluster.consistency.ssp.bound: -1 is out of range: expected 0 to 1022")]
    [InlineData("cluster: { consistency: { ssp: { bound: 2, limit: 1 } } }", "job.yaml:3: unknown key 'cluster.consistency.ssp.limit'; allowed: bound")]
    [InlineData("cluster: { consistency: { async: { bound: 2 } } }", "job.yaml:3: cluster.consistency.async: 'async' takes no options, got a map")]
    [InlineData("cluster: { consistency: async }\ntraining: { clip_norm: 1 }", "job.yaml:4: training.clip_norm: 'clip_norm' bounds the gradient of a whole mini-batch: it needs synchronous steps, and cluster.consistency is async; leave one of the two out, or use 'clip_value'")]
    [InlineData("cluster: { consistency: { ssp: 2 } }\ntraining: { precision: fp16 }", "job.yaml:4: training.precision: fp16 decides for each mini-batch whether its scaled gradient overflowed: it needs synchronous steps, and cluster.consistency is ssp with a bound of 2 steps; leave one of the two out, or use bf16")]
    [InlineData("cluster: { consistency: async }\noptimizer: lamb", "job.yaml:4: optimizer: 'lamb' goes by the norms of a whole mini-batch's gradient: it needs synchronous steps, and cluster.consistency is async; leave one of the two out")]
    [InlineData("cluster: { consistency: async }\ntraining: { watch_every: 50 }", "job.yaml:4: training.watch_every: the gradients of whole mini-batches are there in synchronous steps only, and cluster.consistency is async; leave one of the two out")]
    [InlineData("cluster: { workers: 0 }", "job.yaml:3: cluster.workers: 0 is out of range: expected 1 to 4096")]
    [InlineData("cluster: { failure_timeout: 3 }", "job.yaml:3: cluster.failure_timeout: expected a duration such as 500ms, 3s or 5 minutes, got '3'")]
    [InlineData("cluster: { failure_timeout: 1ms }", "job.yaml:3: cluster.failure_timeout: out of range: expected 100ms to 1h")]
    [InlineData("checkpoint: { every: often }", "job.yaml:3: checkpoint.every: expected how often to save, such as '500 steps', '2 epochs', '5 minutes' or 'end', got 'often'")]
    [InlineData("checkpoint: { every: 500ms }", "job.yaml:3: checkpoint.every: expected how often to save, such as '500 steps', '2 epochs', '5 minutes' or 'end', got '500ms'")]
    [InlineData("checkpoint: { every: 0s }", "job.yaml:3: checkpoint.every: expected how often to save, such as '500 steps', '2 epochs', '5 minutes' or 'end', got '0s'")]
    [InlineData("cluster: { watchdog: 1ms }", "job.yaml:3: cluster.watchdog: out of range: expected 100ms to 30 days, or never")]
    [InlineData("checkpoint: { every: 0 }", "job.yaml:3: checkpoint.every: expected how often to save, such as '500 steps', '2 epochs', '5 minutes' or 'end', got '0'")]
    [InlineData("checkpoint: { keep: 0 }", "job.yaml:3: checkpoint.keep: 0 is out of range: expected 1 to 1048576")]
    [InlineData("name: a/b", "job.yaml:3: name: expected a name of letters, digits, '.', '_' and '-' (it names a directory), got 'a/b'")]
    [InlineData("name: ..", "job.yaml:3: name: expected a name of letters, digits, '.', '_' and '-' (it names a directory), got '..'")]
    [InlineData("seed: -1", "job.yaml:3: seed: expected a whole number from 0 to 18446744073709551615, got '-1'")]
    [InlineData("data: mnist", "job.yaml:3: the key 'data' stands here a second time; first at job.yaml:1")]
    [InlineData("loss: sofmax_cross_entropy", "job.yaml:3: loss: unknown loss 'sofmax_cross_entropy'; did you mean 'softmax_cross_entropy'?")]
    [InlineData("training: { early_stopping: { monitor: losses } }", "job.yaml:3: training.early_stopping.monitor: expected loss or accuracy, got 'losses'")]
    [InlineData("training: { ema: 1 }", "job.yaml:3: training.ema: 1 is out of range: expected 0 to 0.999999")]
    [InlineData("training: { early_stopping: { patience: 0 } }", "job.yaml:3: training.early_stopping.patience: 0 is out of range: expected at least 1")]
    [InlineData("schedule: { cosine: { warmup: 3 } }", "job.yaml:3: unknown key 'schedule.cosine.warmup'; allowed: restart_every, restart_factor, warmup_steps, final_factor")]
    [InlineData("schedule: { step: { every: 0 } }", "job.yaml:3: schedule.step.every: 0 is out of range: expected at least 1")]
    public void Parse_BadSection_NamesPlaceKeyAndWhatIsAllowed(string lines, string expected) => AssertRefused(Least + lines, expected);

    [Theory]
    [InlineData("model: [dense: 10]", "job.yaml:1: the key 'data' is missing; expected the examples, such as { name: digits } or { path: my.csv, label: species }")]
    [InlineData("data: digits", "job.yaml:1: the key 'model' is missing; expected a list of layers, such as [flatten, dense: 64, relu, dense: 10]")]
    [InlineData("data: digits\nmodle: [dense: 10]", "job.yaml:2: unknown key 'modle'; did you mean 'model'?")]
    [InlineData("data: digits\nmodel: []", "job.yaml:2: model: expected a list of layers from the input to the output, got an empty list")]
    [InlineData("data: digits\nmodel:\n  - flatten\n  - dence: 10", "job.yaml:4: model[1]: unknown layer 'dence'; did you mean 'dense'?")]
    [InlineData("data: digit\nmodel: [dense: 10]", "job.yaml:1: data: unknown data source 'digit'; did you mean 'digits'?")]
    [InlineData("data: { name: digits, balance: [] }\nmodel: [dense: 10]", "job.yaml:1: unknown key 'data.balance'; allowed: name, path, test_path, labels_path, header, label, targets, ignore, delimiter, classes, standardize, scale, test_fraction, context, stride, vocabulary, length, min_count, prefix, suffix, augment")]
    [InlineData("data: { name: digits, augment: [mixup: 0] }\nmodel: [dense: 10]", "job.yaml:1: data.augment[0].mixup: 0 is out of range: expected 0.001 to 1000")]
    [InlineData("data: { name: digits, augment: [cutmix: { alpha: 1, often: 1 }] }\nmodel: [dense: 10]", "job.yaml:1: unknown key 'data.augment[0].cutmix.often'; allowed: alpha, probability")]
    [InlineData("data: { name: digits, augment: [mixup] }\nmodel: [dense: 10]\nloss: hinge", "job.yaml:3: loss: 'hinge' takes whole labels, and 'mixup' in data.augment mixes them; leave one of the two out")]
    [InlineData("data: { name: digits, augment: [cutmix] }\nmodel: [dense: 10]\nloss: { softmax_cross_entropy: { ignore_index: 3 } }", "job.yaml:3: loss: 'softmax_cross_entropy' with an ignore_index takes whole labels, and 'cutmix' in data.augment mixes them; leave one of the two out")]
    [InlineData("", "job.yaml:1: the key 'data' is missing; expected the examples, such as { name: digits } or { path: my.csv, label: species }")]
    [InlineData("just words", "job.yaml:1: expected a job: lines of 'key: value'")]
    [InlineData("- a\n- b", "job.yaml:1: expected a job: lines of 'key: value'")]
    public void Parse_BadJob_NamesPlaceAndKey(string text, string expected) => AssertRefused(text, expected);

    [Fact]
    public void Load_NoPath_ReadsEmbeddedJob()
    {
        Job job = JobReader.Load(null);
        Assert.Equal(("digits", "digits", 4, 1), (job.Name, job.Data.Name, job.Cluster.Workers, job.Cluster.Servers));
    }

    [Fact]
    public void Load_ErrorInEmbeddedJobsOverride_NamesTheOption() =>
        Assert.Equal("--set: batch.size: expected an integer, got 'x'", Assert.Throws<DistTrainException>(() => JobReader.Load(null, ["batch.size=x"])).Message);

    [Fact]
    public void Load_WhatIsNoFile_SaysSo()
    {
        string directory = Directory.CreateTempSubdirectory().FullName;
        AssertFileRefused(Path.Combine(directory, "job.yaml"), "no such job file");
        AssertFileRefused(directory, "is a directory, not a job file");
        string binary = Path.Combine(directory, "x.bin");
        File.WriteAllBytes(binary, [0xFF, 0xFE, 0x00, 0x80]);
        AssertFileRefused(binary, "not a text in UTF-8; is it a job file?");
        string huge = Path.Combine(directory, "huge.yaml");
        File.WriteAllBytes(huge, new byte[JobReader.MaximumBytes + 1]);
        AssertFileRefused(huge, "larger than 1048576 bytes; is it a job file?");
        Directory.Delete(directory, recursive: true);
    }

    [Fact]
    public void Load_FileWithByteOrderMark_IsRead()
    {
        string file = Path.GetTempFileName();
        File.WriteAllText(file, Least, new System.Text.UTF8Encoding(true));
        Assert.Equal("digits", JobReader.Load(file).Data.Name);
        File.Delete(file);
    }

    private static void AssertFileRefused(string path, string expected)
    {
        DistTrainException e = Assert.Throws<DistTrainException>(() => JobReader.Load(path));
        Assert.Equal((ExitCode.BadUsage, $"{path}: {expected}"), (e.ExitCode, e.Message));
    }

    private static void AssertRefused(string text, string expected)
    {
        DistTrainException e = Assert.Throws<DistTrainException>(() => JobReader.Parse(text, "job.yaml"));
        Assert.Equal(expected, e.Message);
        Assert.Equal(ExitCode.BadUsage, e.ExitCode);
    }
}
