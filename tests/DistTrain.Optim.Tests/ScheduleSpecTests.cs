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

    [Theory]
    [InlineData("\"cosin\"", "job.yaml:7: schedule: unknown schedule 'cosin'; did you mean 'cosine'?")]
    [InlineData("\"step\"", "job.yaml:7: schedule.step: the key 'schedule.step.every' is missing")]
    [InlineData("{ \"cosine\": { \"warmup\": 3 } }", "job.yaml:7: unknown key 'schedule.cosine.warmup'; allowed: warmup_steps, final_factor")]
    [InlineData("{ \"cosine\": { \"warmup_steps\": -3 } }", "job.yaml:7: schedule.cosine.warmup_steps: -3 is out of range: expected at least 0")]
    public void FromConfig_Mistake_NamesPlaceAndRemedy(string json, string message) =>
        Assert.Equal(message, Assert.Throws<DistTrainException>(() => Read(json)).Message);

    private static ScheduleSpec Read(string json) => ScheduleSpec.FromConfig(Config.Json(json, "schedule"));
}
