using System.Globalization;

namespace DistTrain.Cli.Progress;

/// <summary>How numbers are written for people.</summary>
internal static class Figures
{
    public static string Count(double n) => n.ToString("N0", CultureInfo.InvariantCulture);

    /// <summary>A loss with four significant digits or so.</summary>
    public static string Loss(double loss) => loss.ToString(Math.Abs(loss) is >= 1e-3 and < 1e4 || loss == 0 ? "0.0000" : "0.00e+0", CultureInfo.InvariantCulture);

    public static string Accuracy(double share) => share.ToString("0.0000", CultureInfo.InvariantCulture);

    public static string Rate(double perSecond) => $"{Count(perSecond)} examples/s";

    public static string Time(TimeSpan time) => time switch
    {
        { TotalSeconds: < 10 } => time.TotalSeconds.ToString("0.0", CultureInfo.InvariantCulture) + " s",
        { TotalSeconds: < 120 } => time.TotalSeconds.ToString("0", CultureInfo.InvariantCulture) + " s",
        { TotalMinutes: < 120 } => string.Create(CultureInfo.InvariantCulture, $"{(int)time.TotalMinutes} min {time.Seconds:00} s"),
        _ => string.Create(CultureInfo.InvariantCulture, $"{(int)time.TotalHours} h {time.Minutes:00} min"),
    };

    /// <summary>An amount of memory, by thousands, with three digits or so.</summary>
    public static string Bytes(double bytes) => bytes switch
    {
        < 1e3 => bytes.ToString("0", CultureInfo.InvariantCulture) + " B",
        < 1e6 => (bytes / 1e3).ToString(bytes < 1e5 ? "0.0" : "0", CultureInfo.InvariantCulture) + " kB",
        < 1e9 => (bytes / 1e6).ToString(bytes < 1e8 ? "0.0" : "0", CultureInfo.InvariantCulture) + " MB",
        _ => (bytes / 1e9).ToString("0.0", CultureInfo.InvariantCulture) + " GB",
    };

    public static string Plural(long n, string one) => string.Create(CultureInfo.InvariantCulture, $"{n} {one}{(n == 1 ? "" : "s")}");

    /// <summary>An evaluation, in words.</summary>
    public static string Evaluation(EvaluationReport report)
    {
        string train = report.TrainLoss is { } loss ? $"train loss {Loss(loss)}, " : "";
        string accuracy = report.TestAccuracy is { } share ? $", test accuracy {Accuracy(share)}" : "";
        return $"{train}test loss {Loss(report.TestLoss)}{accuracy}";
    }

    /// <summary>A step, in words.</summary>
    public static string Step(StepReport report, TrainingStarted started)
    {
        string left = report.TimeLeft is { } time ? $", {Time(time)} left" : "";
        long epochs = (started.TotalSteps + started.StepsPerEpoch - 1) / Math.Max(1, started.StepsPerEpoch);
        return string.Create(CultureInfo.InvariantCulture, $"epoch {report.Epoch + 1}/{epochs}, step {report.Step}/{started.TotalSteps}, loss {Loss(report.Loss)}, {Rate(report.ExamplesPerSecond)}{left}");
    }
}
