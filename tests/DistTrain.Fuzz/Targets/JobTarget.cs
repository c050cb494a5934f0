using System.Text;
using DistTrain.Jobs;

namespace DistTrain.Fuzz.Targets;

/// <summary>Jobs in YAML, and overrides. What is read must be writable, and mean the same when it is read again.</summary>
internal sealed class JobTarget : FuzzTarget
{
    private static readonly string[] Samples =
    [
        JobReader.EmbeddedText,
        """
        name: fashion-cnn
        seed: 1
        data: { name: fashion-mnist, path: ~/data, augment: [flip, crop: 4] }
        model:
          - conv: { out: 32, kernel: 3, padding: 1 }
          - relu
          - max_pool: 2
          - flatten
          - dropout: 0.5
          - dense: 10
        loss: softmax_cross_entropy
        optimizer: { adamw: { learning_rate: 1e-3, weight_decay: 0.01 } }
        schedule: { cosine: { warmup_steps: 200 } }
        batch: { size: 128, shards: 8, micro_size: 64 }
        training: { epochs: 10, max_steps: null, clip_norm: 1, precision: bf16, ema: 0.99, early_stopping: { patience: 3 } }
        wire: { gradients: int8 }
        cluster: { workers: "1:4", servers: 1, consistency: { ssp: 3 }, failure_timeout: 3s, bucket_length: auto }
        checkpoint: { path: runs/fashion-cnn, every: 500 steps, keep: 3 }
        """,
        "data: { path: a.csv, label: x, targets: [y, z] }\nmodel: [flatten, dense: 64, relu, dense: { out: 10, init: he_normal }]\noptimizer: { sgd: { learning_rate: 0.1, groups: [{ match: '*.bias', weight_decay: 0 }] } }\n",
        "data: text\nmodel:\n  - embedding: 16\n  - residual: [layer_norm, attention: { heads: 2 }]\n  - lstm: 8\n  - dense: 5\n",
    ];

    private static readonly string[] Words =
    [
        "[", "]", "{", "}", ": ", "- ", "? ", "\n", "\n  ", "  ", "#", "&a ", "*a", "!!int ", "'", "\"", "|\n", ">-\n", "---\n", "...\n", "%YAML 1.2\n", "~", "null", "\t", "\\u0000", "\uFEFF", ",", "é", "😀", "\0",
        "[[[[", "{a: ", "- - - ", "? ? ", "model:", "dense: ", "conv:", "residual:", "init:", "groups:", "1_000", "0x10", ".inf", ".nan", "-1", "1e-400", "true", "10 steps", "5 minutes", "9999999999h", "1GiB",
        "data:", "optimizer:", "schedule:", "batch:", "shards: ", "workers: ", "consistency: ", "local_sgd", "ssp", "top_k", "augment:", "mixup", "every: ", "learning_rate: ", "a: b\n",
    ];

    public override string Name => "job";

    public override int Brief => 1500;

    public override bool IsRefusal(Exception exception) => exception is Core.DistTrainException { ExitCode: Core.ExitCode.BadUsage };

    public override long Limit(byte[] input) => (4 << 20) + (1000L * input.Length);

    public override byte[] Make(FuzzRandom random) => Encoding.UTF8.GetBytes(TextMutator.Mutate(random, random.Pick(Samples), Words, 20_000));

    public override bool Read(byte[] input)
    {
        string text = Encoding.UTF8.GetString(input);
        int comment = text.IndexOf('#', StringComparison.Ordinal);
        // What stands behind the first '#' of a line that has one is an override now and then: names and values from anywhere.
        string[] overrides = comment >= 0 && input.Length % 4 == 0 ? [text[(comment + 1)..].Split('\n')[0].Trim()] : [];
        Job job = JobReader.Parse(text, "job.yaml", overrides.Where(o => o.Contains('=', StringComparison.Ordinal)));
        string written = job.ToYaml();
        Job again = JobReader.Parse(written, "written.yaml");
        if (again.Hash != job.Hash) throw new BrokenPromiseException($"the job means something else once it was written:\n{written}");
        return true;
    }
}
