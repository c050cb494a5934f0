using DistTrain.Composition;
using DistTrain.Core;
using DistTrain.Jobs;

namespace DistTrain;

/// <summary>
/// Runs the parts of a cluster in this process. Errors that a user can act on come as <see cref="DistTrainException"/>;
/// a run that ends badly after it began still returns its result, with <see cref="TrainResult.ExitCode"/> set.
/// </summary>
public static class Roles
{
    /// <summary>
    /// Runs the coordinator until the job is done. <paramref name="stop"/> ends it early: the steps in hand are
    /// finished, a checkpoint is saved, and the exit code is <see cref="ExitCode.Interrupted"/>.
    /// </summary>
    public static Task<TrainResult> CoordinateAsync(Job job, CoordinatorOptions options, ITrainingObserver observer, CancellationToken stop) =>
        CoordinatorRole.RunAsync(job, options, observer, stop);

    /// <summary>Runs a worker until the coordinator stops it; returns the exit code for its process.</summary>
    public static Task<ExitCode> RunWorkerAsync(MemberOptions options, CancellationToken stop) => MemberRoles.RunWorkerAsync(options, stop);

    /// <summary>Runs a parameter server until the coordinator stops it; returns the exit code for its process.</summary>
    public static Task<ExitCode> RunServerAsync(MemberOptions options, CancellationToken stop) => MemberRoles.RunServerAsync(options, stop);

    /// <summary>Runs coordinator, servers and workers in this process, over the in-process channel, and saves to the
    /// job's run directory. </summary>
    public static async Task<TrainResult> TrainInProcessAsync(Job job, bool resume, ITrainingObserver observer, CancellationToken stop, RunRecords? records = null)
    {
        await using var run = new InProcessRun(job, resume, save: true, observer, records);
        return await run.RunAsync(stop);
    }
}
