using System.Globalization;

namespace DistTrain.Cli.Progress;

/// <summary>What a finished run comes to.</summary>
internal static class ClosingTable
{
    public static IReadOnlyList<(string Name, string Value)> Rows(TrainResult result)
    {
        List<(string, string)> rows = [];
        if (result.TestAccuracy is { } accuracy) rows.Add(("test accuracy", Figures.Accuracy(accuracy)));
        if (result.TestLoss is { } test) rows.Add(("test loss", Figures.Loss(test)));
        if (result.TrainLoss is { } train) rows.Add(("train loss", Figures.Loss(train)));
        rows.Add(("steps", $"{Figures.Count(result.Steps)} ({result.Epochs.ToString("0.##", CultureInfo.InvariantCulture)} epochs)"));
        if (result.BestStep is { } best) rows.Add(("best step", $"{Figures.Count(best)}, whose weights are the result"));
        if (result.SamplesPerSecond is { } rate) rows.Add(("speed", Figures.Rate(rate) + (result.StepMsMedian is { } step ? string.Create(CultureInfo.InvariantCulture, $", {step:0.00} ms a step") : "")));
        if (result.StalenessMax is { } most) rows.Add(("staleness", string.Create(CultureInfo.InvariantCulture, $"{result.StalenessMean ?? 0:0.00} steps in the mean, {most:N0} at most")));
        if (result is { PushedBytesPerStep: { } pushed, BroadcastBytesPerStep: { } broadcast }) rows.Add(("traffic", $"{Figures.Bytes(pushed)} of gradients and {Figures.Bytes(broadcast)} of weights a step"));
        if (result.Split is { } split) rows.Add(("a step", Split(split)));
        if (result.AssistedShards > 0) rows.Add(("lagging", $"{Figures.Plural(result.AssistedShards, "shard")} computed by others too"));
        rows.Add(("time", Figures.Time(TimeSpan.FromSeconds(result.WallSeconds))));
        rows.Add(("cluster", $"{Figures.Plural(result.Workers, "worker")}, {Figures.Plural(result.Servers, "parameter server")}, {result.Channel}"));
        if (result.Failures.Count > 0) rows.Add(("lost", string.Join("; ", result.Failures.Select(f => $"{f.Who} on {f.Host} (pid {f.Pid}) at step {f.Step}: {f.Cause}"))));
        if (result.WeightsSha256 is { } hash) rows.Add(("weights sha256", hash));
        return rows;
    }

    private static string Split(StepSplit split)
    {
        return $"{Share(split.ComputeMs)} compute, {Share(split.CommunicationMs)} exposed communication, {Share(split.ReductionMs)} reduction, {Share(split.StallMs)} stall, {Share(split.OtherMs)} between";

        string Share(double ms) => string.Create(CultureInfo.InvariantCulture, $"{100 * ms / split.StepMs:0} %");
    }
}
