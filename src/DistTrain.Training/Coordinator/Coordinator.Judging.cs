using System.Globalization;
using DistTrain.Core.Messages;
using DistTrain.Optim;

namespace DistTrain.Training.Coordinator;

/// <content>
/// What follows from evaluations: an early end, and what the rate falls to. A version that is evaluated is saved after its
/// evaluation, whose servers stand there until then, so that a checkpoint's record holds what came of it. Only where Ctrl-C
/// ends a run before the evaluation, the record is without it; the resumed run then evaluates its first version again.
/// </content>
public sealed partial class Coordinator
{
    private EvaluationRecord _judged;

    private void BeginJudging()
    {
        if (_plan.Monitoring is { } rules && rules.Stops(_judged)) StopEarly();
    }

    private void Judge(EvaluationReduced reduced)
    {
        if (_plan.Monitoring is not { } rules || _clock.EndsEarly) return;
        PlateauState before = _judged.Plateau;
        _judged = rules.Next(_judged, reduced.Version, reduced.Stats);
        if (_judged.Best?.Version == reduced.Version) _clock.Keep(reduced.Version);
        if (_judged.Plateau.Factor != before.Factor)
        {
            _events.Noted(string.Create(CultureInfo.InvariantCulture, $"step {reduced.Version}: the test loss has stopped falling, so the learning rate falls to {_judged.Plateau.Factor:0.###e+0} of what it would be"));
        }

        if (reduced.Version < _plan.TotalSteps && rules.Stops(_judged)) StopEarly();
    }

    private void StopEarly()
    {
        _clock.Stop();
        string best = _judged.Best is { } model
            ? string.Create(CultureInfo.InvariantCulture, $"the best was step {model.Version}, whose weights are kept (test loss {model.Loss:0.#####})")
            : "there is no best one";
        _events.Noted($"stopped early at step {_clock.Committed}: {_judged.Since} evaluations in a row were no better; {best}");
    }

    // The best version's checkpoint is part of the result.
    private bool BestIsAwaited => _judged.Best is { } best && _asked.Contains(best.Version) && !_saved.Contains(best.Version);
}
