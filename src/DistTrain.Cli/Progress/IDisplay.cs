namespace DistTrain.Cli.Progress;

/// <summary>Where progress is shown. Calls come one at a time.</summary>
internal interface IDisplay : IDisposable
{
    /// <summary>A line that stays.</summary>
    void Line(string text);

    /// <summary>A line that stays and should be noticed.</summary>
    void Trouble(string text);

    /// <summary>What is being waited for; a later one may take its place.</summary>
    void Waiting(string text);

    /// <summary>The bar begins.</summary>
    void Begin(TrainingStarted started);

    /// <summary>The bar moves.</summary>
    void Step(StepReport report);

    /// <summary>An evaluation is done.</summary>
    void Evaluated(EvaluationReport report);

    /// <summary>The bar ends; lines may still follow.</summary>
    void End();

    /// <summary>The closing table.</summary>
    void Table(string title, IReadOnlyList<(string Name, string Value)> rows);
}
