using System.Globalization;
using DistTrain.Core.Config;

namespace DistTrain.Jobs;

/// <summary>How often a checkpoint is written: every so many steps or epochs, after so much time, or only at the end.</summary>
public readonly record struct CheckpointInterval
{
    private CheckpointInterval(long count, bool inEpochs, TimeSpan? period = null) => (Count, InEpochs, Period) = (count, inEpochs, period);

    /// <summary>Only at the end of the training.</summary>
    public static CheckpointInterval AtEnd => default;

    /// <summary>Steps or epochs from one to the next; 0 for only at the end, or after <see cref="Period"/>.</summary>
    public long Count { get; }

    /// <summary>Whether <see cref="Count"/> counts epochs.</summary>
    public bool InEpochs { get; }

    /// <summary>Time from one to the next; null where steps decide. It doesn't show in the bits.</summary>
    public TimeSpan? Period { get; }

    /// <summary>Whenever so much time has passed, a second at least.</summary>
    public static CheckpointInterval After(TimeSpan period)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(period, TimeSpan.FromSeconds(1));
        return new(0, inEpochs: false, period);
    }

    /// <summary>Every <paramref name="count"/> steps, at least 1.</summary>
    public static CheckpointInterval Steps(long count) => new(AtLeastOne(count), inEpochs: false);

    /// <summary>At the end of every <paramref name="count"/>-th epoch, at least 1.</summary>
    public static CheckpointInterval Epochs(long count) => new(AtLeastOne(count), inEpochs: true);

    /// <summary>The interval in steps; 0 where they don't decide.</summary>
    /// <param name="stepsPerEpoch">Mini-batches in one pass over the training examples.</param>
    public long ToSteps(long stepsPerEpoch) => InEpochs ? checked(Count * stepsPerEpoch) : Count;

    /// <summary>Reads <c>500 steps</c>, <c>500</c>, <c>epoch</c>, <c>2 epochs</c>, <c>5 minutes</c> or <c>end</c>.</summary>
    /// <exception cref="Core.DistTrainException">It is something else.</exception>
    public static CheckpointInterval FromConfig(ConfigNode node)
    {
        string[] words = node.AsText().Split(' ', StringSplitOptions.RemoveEmptyEntries);
        if (words is ["end"]) return AtEnd;
        if (words is ["epoch"]) return Epochs(1);
        if (words.Length is 1 or 2 && long.TryParse(words[0].Replace("_", "", StringComparison.Ordinal), NumberStyles.None, CultureInfo.InvariantCulture, out long count) && count is > 0 and <= 1_000_000_000_000)
        {
            switch (words.Length == 1 ? "steps" : words[1])
            {
                case "step" or "steps":
                    return Steps(count);
                case "epoch" or "epochs":
                    return Epochs(count);
            }
        }

        if (node.AsText().TrimStart([.. "0123456789. "]) is "s" or "second" or "seconds" or "m" or "min" or "minute" or "minutes" or "h" or "hour" or "hours")
        {
            TimeSpan period = node.AsDuration();
            if (period >= TimeSpan.FromSeconds(1) && period <= TimeSpan.FromDays(30)) return After(period);
        }

        throw node.Error($"expected how often to save, such as '500 steps', '2 epochs', '5 minutes' or 'end', got {node.Describe()}");
    }

    /// <summary>As a job writes it.</summary>
    public override string ToString() => Period is { } period ? string.Create(CultureInfo.InvariantCulture, $"{period.TotalSeconds} seconds") : Count == 0 ? "end" : string.Create(CultureInfo.InvariantCulture, $"{Count} {(InEpochs ? "epoch" : "step")}{(Count == 1 ? "" : "s")}");

    private static long AtLeastOne(long count)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(count, 1);
        return count;
    }
}
