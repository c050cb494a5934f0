namespace DistTrain.Tests.Composition;

/// <summary>Remembers what a run says.</summary>
internal sealed class Recorder : ITrainingObserver
{
    public List<EvaluationReport> Evaluations { get; } = [];

    public List<string> Notes { get; } = [];

    public List<string> Warnings { get; } = [];

    public Action<long> Stepped { get; init; } = _ => { };

    public void Step(StepReport report) => Stepped(report.Step);

    public void Evaluated(EvaluationReport report) => Evaluations.Add(report);

    public void Note(string message) => Notes.Add(message);

    public void Listening(string address)
    {
    }

    public void Waiting(string message)
    {
    }

    public void Started(TrainingStarted info)
    {
    }

    public void Saved(long version, string path)
    {
    }

    public void Membership(string message, bool trouble)
    {
    }

    public void Warn(string message) => Warnings.Add(message);
}
