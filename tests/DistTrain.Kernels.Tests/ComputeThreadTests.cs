namespace DistTrain.Kernels.Tests;

public class ComputeThreadTests
{
    // Field 41 of /proc/self/task/…/stat is the policy; 3 is SCHED_BATCH.
    [Fact]
    public void Thread_ThatComputes_HasItsPolicy_AndOthersKeepTheirs()
    {
        if (!OperatingSystem.IsLinux()) return;
        (bool done, int before, int after) = (false, -1, -1);
        var thread = new Thread(() =>
        {
            before = Policy();
            done = ComputeThread.TryYieldWhenWoken();
            after = Policy();
        });
        thread.Start();
        thread.Join();
        Assert.Equal(Policy(), before);
        Assert.Equal(done ? 3 : before, after);
    }

    private static int Policy()
    {
        string stat = File.ReadAllText("/proc/thread-self/stat");
        return int.Parse(stat[(stat.LastIndexOf(')') + 2)..].Split(' ')[38], System.Globalization.CultureInfo.InvariantCulture);
    }
}
