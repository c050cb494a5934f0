using System.Globalization;
using DistTrain.Core;
using DistTrain.Core.Channels;
using DistTrain.Core.Layout;

namespace DistTrain.Training.Worker;

/// <summary>Faults that a worker commits on purpose, so that tests see what becomes of them.</summary>
public sealed record Faults
{
    /// <summary>The environment variable that asks for them.</summary>
    public const string Variable = "DISTTRAIN_FAULTS";

    /// <summary>Each step takes that much longer.</summary>
    public TimeSpan StepDelay { get; init; }

    /// <summary>The shard, and the step from which on, that end the worker which computes it; null for none.</summary>
    public (int Shard, long Step)? Crash { get; init; }

    /// <summary>The step from which on one bit of each gradient that it computes is another, in the middle of the first bucket; null for none.</summary>
    public long? FlipFrom { get; init; }

    /// <summary>
    /// Reads words such as <c>step_delay=20</c> (milliseconds), <c>crash=3@10</c> (shard 3, from step 10 on) and <c>flip=40</c> (from step 40 on),
    /// separated by commas; null for nothing.
    /// </summary>
    /// <exception cref="DistTrainException">BadUsage: it is something else.</exception>
    public static Faults? Parse(string? text)
    {
        if (string.IsNullOrWhiteSpace(text)) return null;
        var faults = new Faults();
        foreach (string word in text.Split(',', StringSplitOptions.TrimEntries))
        {
            string[] parts = word.Split('=', '@');
            faults = parts switch
            {
                ["step_delay", var ms] when Number(ms, out long delay) && delay <= 60_000 => faults with { StepDelay = TimeSpan.FromMilliseconds(delay) },
                ["crash", var shard, var step] when Number(shard, out long s) && s <= int.MaxValue && Number(step, out long at) => faults with { Crash = ((int)s, at) },
                ["flip", var step] when Number(step, out long at) => faults with { FlipFrom = at },
                _ => throw new DistTrainException(ExitCode.BadUsage, $"{Variable}: '{word}': expected step_delay=MILLISECONDS, crash=SHARD@STEP or flip=STEP"),
            };
        }

        return faults;
    }

    /// <summary>Commits what is due before some shards of a step are computed.</summary>
    /// <exception cref="InvalidOperationException">The crash that was asked for.</exception>
    internal void Commit(long step, IReadOnlyList<int> shards)
    {
        if (StepDelay > TimeSpan.Zero) Thread.Sleep(StepDelay);
        if (Crash is { } crash && step >= crash.Step && shards.Contains(crash.Shard)) throw new InvalidOperationException($"crashed on purpose at shard {crash.Shard} of step {step}");
    }

    /// <summary>Commits what is due before a bucket of gradients goes on its way.</summary>
    internal void Flip(GradientRound round, Bucket bucket)
    {
        if (bucket.Index == 0 && round.Step >= FlipFrom) Flip(round.Payload(0, bucket));
    }

    // A bit of the mantissa in fp32, and in bf16 that of every second value.
    private static unsafe void Flip(NativeSpan payload) => *((uint*)payload.Address + (payload.Length / 2)) ^= 1u << 22;

    private static bool Number(string text, out long value) => long.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out value);
}
