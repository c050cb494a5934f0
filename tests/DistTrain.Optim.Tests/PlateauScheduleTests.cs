using DistTrain.Optim;
using DistTrain.Tests;

namespace DistTrain.Optim.Tests;

public sealed class PlateauScheduleTests
{
    // torch 1.13: ReduceLROnPlateau(SGD(lr=1), factor=0.5, patience=1, threshold=0.01, cooldown=2, min_lr=0.1), one step(loss) each.
    private static readonly double[] Losses =
    [
        1, 0.995, 0.9, 0.95, 0.92, 0.91, 0.93, 0.9, 0.92, 0.5, 0.6, 0.6, 0.6, 0.6, 0.6, 0.6, 0.6, double.NaN, 0.6, 0.6, 0.6, 0.6, 0.4, 0.5, 0.5, 0.5,
    ];

    private static readonly double[] PyTorch =
    [
        1, 1, 1, 1, 0.5, 0.5, 0.5, 0.5, 0.25, 0.25, 0.25, 0.25, 0.125, 0.125, 0.125, 0.125, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1,
    ];

    [Fact]
    public void Next_OfManyLosses_FallsWherePyTorchDoes()
    {
        var schedule = new PlateauSchedule(0.5, Patience: 1, Threshold: 0.01, Cooldown: 2, Minimum: 0.1);
        PlateauState state = PlateauState.Start;
        var factors = new List<double>();
        foreach (double loss in Losses)
        {
            state = schedule.Next(state, loss);
            factors.Add(state.Factor);
        }

        Assert.Equal(PyTorch, factors);
        Assert.Equal(0.4, state.Best);
    }

    [Fact]
    public void FromConfig_WithoutOptions_HasPyTorchsDefaults()
    {
        Assert.Equal(new PlateauSchedule(0.1, 10, 1e-4, 0, 0, 0), Read("\"plateau\""));
        Assert.Equal(new PlateauSchedule(0.5, 2, 0.01, 1, 0.001, 30), Read("{ \"plateau\": { \"factor\": 0.5, \"patience\": 2, \"threshold\": 0.01, \"cooldown\": 1, \"minimum\": 0.001, \"warmup_steps\": 30 } }"));
    }

    [Fact]
    public void LearningRate_OfTheStepAlone_IsTheWarmUpOnly()
    {
        ScheduleSpec schedule = new PlateauSchedule(WarmupSteps: 3);
        Assert.Equal([0.25, 0.5, 0.75, 1, 1], Enumerable.Range(1, 5).Select(step => schedule.LearningRate(1, step, 100)));
        Assert.False(schedule.SpansTraining);
    }

    private static ScheduleSpec Read(string json) => ScheduleSpec.FromConfig(Config.Json(json, "schedule"));
}
