using System.Net;
using System.Net.Sockets;
using DistTrain.Core;
using DistTrain.Jobs;

namespace DistTrain.Cli.FakeRoles;

/// <summary>
/// Roles over bare sockets. A member connects, says its role, pid and the token's length, and stays until its connection ends.
/// FAKE_COORDINATOR: <c>finish</c> (as soon as all are there), <c>run</c> (until told to stop), <c>stuck</c> (not even
/// then), <c>crash</c> (an unhandled exception once all are there). FAKE_WORKER: <c>die</c> (exit code 3 before joining).
/// FAKE_PIDS names a file that the coordinator writes everyone's pid to.
/// </summary>
internal static class Fake
{
    public static async Task<TrainResult> CoordinateAsync(Job job, CoordinatorOptions options, ITrainingObserver observer, CancellationToken stop)
    {
        if (options.Network.Token is not { Length: 64 }) throw new DistTrainException(ExitCode.ClusterLost, "the token is missing");
        using var listener = new TcpListener(IPAddress.Loopback, 0);
        listener.Start();
        string address = listener.LocalEndpoint.ToString()!;
        observer.Listening(address);
        options.Bound?.Invoke(address);
        var members = new List<TcpClient>();
        var pids = new List<string> { $"coordinator {Environment.ProcessId}" };
        try
        {
            for (int i = 0; i < job.Cluster.Workers + job.Cluster.Servers; i++)
            {
                TcpClient member = await listener.AcceptTcpClientAsync(stop);
                members.Add(member);
                string hello = (await new StreamReader(member.GetStream()).ReadLineAsync(stop))!;
                if (!hello.EndsWith(options.Network.Token, StringComparison.Ordinal)) throw new DistTrainException(ExitCode.ClusterLost, "a wrong token");
                pids.Add(hello[..hello.LastIndexOf(' ')]);
            }

            observer.Started(new TrainingStarted(job.Name, "data", "model", job.Cluster.Workers, job.Cluster.Servers, 8, 128, 0, 100, 10, null));
            observer.Step(new StepReport(1, 0, 2.5, 128, 1000, null));
            WritePids(pids);
            await BehaveAsync(stop);
            return new TrainResult { Name = job.Name, Steps = 100, Epochs = 10, Workers = job.Cluster.Workers, Servers = job.Cluster.Servers, Channel = "fake", Checkpoint = "runs/x/step-100" };
        }
        catch (OperationCanceledException)
        {
            return new TrainResult { Name = job.Name, Steps = 1, ExitCode = (int)ExitCode.Interrupted, Checkpoint = "runs/x/step-1" };
        }
        finally
        {
            members.ForEach(m => m.Dispose());
        }
    }

    public static Task<ExitCode> WorkerAsync(MemberOptions options, CancellationToken stop) => MemberAsync("worker", options);

    public static Task<ExitCode> ServerAsync(MemberOptions options, CancellationToken stop) => MemberAsync("server", options);

    public static Task<TrainResult> InProcessAsync(Job job, bool resume, ITrainingObserver observer, CancellationToken stop, RunRecords? records) =>
        Task.FromResult(new TrainResult { Name = job.Name, Steps = 7, Channel = resume ? "resumed" : "new" });

    private static async Task BehaveAsync(CancellationToken stop)
    {
        switch (Environment.GetEnvironmentVariable("FAKE_COORDINATOR"))
        {
            case "run":
                await Task.Delay(Timeout.Infinite, stop);
                break;
            case "stuck":
                await Task.Delay(Timeout.Infinite, CancellationToken.None);
                break;
            case "crash":
                throw new InvalidDataException("crashed on purpose");
        }
    }

    private static async Task<ExitCode> MemberAsync(string role, MemberOptions options)
    {
        if (role == "worker" && Environment.GetEnvironmentVariable("FAKE_WORKER") == "die") throw new DistTrainException(ExitCode.BadData, "a.csv:3: bad on purpose");
        string[] address = options.Network.Join!.Split(':');
        using var client = new TcpClient();
        await client.ConnectAsync(address[0], int.Parse(address[1]));
        await using NetworkStream stream = client.GetStream();
        await stream.WriteAsync(System.Text.Encoding.UTF8.GetBytes($"{role} {Environment.ProcessId} {options.Network.Token}\n"));
        try
        {
            // Nothing is ever sent: this waits for the end.
            return await stream.ReadAsync(new byte[1]) == 0 ? ExitCode.Done : ExitCode.Internal;
        }
        catch (IOException)
        {
            return ExitCode.ClusterLost;
        }
    }

    private static void WritePids(List<string> pids)
    {
        if (Environment.GetEnvironmentVariable("FAKE_PIDS") is not { } file) return;
        File.WriteAllLines(file + ".tmp", pids);
        File.Move(file + ".tmp", file);
    }
}
