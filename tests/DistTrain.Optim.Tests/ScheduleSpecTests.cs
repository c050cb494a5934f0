using DistTrain.Core;

namespace DistTrain.Optim.Tests;

public sealed class ScheduleSpecTests
{
    [Fact]
    public void Constant_AnyStep_IsTheBaseRate()
    {
        ScheduleSpec schedule = Read("\"constant\"");

        Assert.Equal(new ConstantSchedule(), schedule);
        Assert.Equal(0.3, schedule.LearningRate(0.3, 1, 100));
        Assert.Equal(0.3, schedule.LearningRate(0.3, 1000, 100));
    }

    [Fact]
    public void WarmUp_FirstSteps_RiseInALine()
    {
        ScheduleSpec schedule = Read("{ \"constant\": { \"warmup_steps\": 4 } }");

        double[] rates = [.. Enumerable.Range(1, 6).Select(step => schedule.LearningRate(1, step, 100))];

        Assert.Equal([0.2, 0.4, 0.6, 0.8, 1, 1], rates);
    }

    [Fact]
    public void Cosine_WholeTraining_FallsFromBaseToFinal()
    {
        ScheduleSpec schedule = Read("{ \"cosine\": { \"warmup_steps\": 10, \"final_factor\": 0.1 } }");

        Assert.Equal(2, schedule.LearningRate(2, 11, 110), 1e-12);
        Assert.Equal(1.1, schedule.LearningRate(2, 61, 110), 1e-12);
        Assert.Equal(0.2, schedule.LearningRate(2, 111, 110), 1e-12);
        Assert.Equal(0.2, schedule.LearningRate(2, 500, 110), 1e-12);
        for (int step = 11; step < 110; step++) Assert.True(schedule.LearningRate(2, step, 110) > schedule.LearningRate(2, step + 1, 110));
    }

    [Fact]
    public void Step_EverySoMany_FallsByTheFactor()
    {
        ScheduleSpec schedule = Read("{ \"step\": { \"every\": 3, \"factor\": 0.5 } }");

        Assert.Equal([8, 8, 8, 4, 4, 4, 2], Enumerable.Range(1, 7).Select(step => schedule.LearningRate(8, step, 100)));
    }

    [Fact]
    public void Cosine_WithRestarts_BeginsAgainInLongerCycles()
    {
        ScheduleSpec schedule = Read("{ \"cosine\": { \"restart_every\": 4, \"restart_factor\": 2 } }");

        double[] rates = [.. Enumerable.Range(1, 14).Select(step => schedule.LearningRate(1, step, 1000))];

        Assert.Equal([1, 0.8535533905932737, 0.5, 0.14644660940672627], rates[..4].Select(r => Math.Round(r, 15)), Near);
        Assert.Equal(1, rates[4], 1e-12);
        Assert.Equal(0.5, rates[8], 1e-12);
        Assert.Equal(1, rates[12], 1e-12);
    }

    // torch.optim.lr_scheduler.MultiStepLR, ExponentialLR, PolynomialLR and OneCycleLR.
    [Theory]
    [InlineData("{ \"multi_step\": { \"at\": [2, 5], \"factor\": 0.5 } }", new[] { 1, 1, 0.5, 0.5, 0.5, 0.25 })]
    [InlineData("{ \"exponential\": { \"factor\": 0.9 } }", new[] { 1, 0.9, 0.81, 0.729 })]
    [InlineData("{ \"polynomial\": { \"power\": 2 } }", new[] { 1, 0.81, 0.64, 0.49, 0.36 })]
    [InlineData("{ \"polynomial\": { \"final_factor\": 0.5 } }", new[] { 1, 0.95, 0.9 })]
    [InlineData("{ \"one_cycle\": {} }", new[] { 0.04, 0.52, 1, 0.9504846320, 0.8117456539, 0.6112620219, 0.3887419781, 0.1882583461, 0.0495193680, 4e-6 })]
    public void Schedule_FirstSteps_AreTheFormulas(string json, double[] expected)
    {
        ScheduleSpec schedule = Read(json);

        Assert.Equal(expected, Enumerable.Range(1, expected.Length).Select(step => schedule.LearningRate(1, step, 10)), Near);
    }

    [Fact]
    public void SpansTraining_OnlyWhatEndsWithIt()
    {
        Assert.True(new CosineSchedule().SpansTraining);
        Assert.False(new CosineSchedule(RestartEvery: 5).SpansTraining);
        Assert.True(new OneCycleSchedule().SpansTraining);
        Assert.False(new StepSchedule(3).SpansTraining);
    }

    private static bool Near(double a, double b) => Math.Abs(a - b) < 1e-6;

    [Theory]
    [InlineData("\"cosin\"", "job.yaml:7: schedule: unknown schedule 'cosin'; did you mean 'cosine'?")]
    [InlineData("\"step\"", "job.yaml:7: schedule.step: the key 'schedule.step.every' is missing")]
    [InlineData("{ \"cosine\": { \"warmup\": 3 } }", "job.yaml:7: unknown key 'schedule.cosine.warmup'; allowed: restart_every, restart_factor, warmup_steps, final_factor")]
    [InlineData("{ \"cosine\": { \"warmup_steps\": -3 } }", "job.yaml:7: schedule.cosine.warmup_steps: -3 is out of range: expected at least 0")]
    public void FromConfig_Mistake_NamesPlaceAndRemedy(string json, string message) =>
        Assert.Equal(message, Assert.Throws<DistTrainException>(() => Read(json)).Message);

    private static ScheduleSpec Read(string json) => ScheduleSpec.FromConfig(Config.Json(json, "schedule"));
}
