using DistTrain.Core;
using DistTrain.Core.Messages;
using DistTrain.Core.Sharding;
using DistTrain.Training.Coordinator;

namespace DistTrain.Training.Tests.Coordinator;

/// <summary>Who waits for whom, as the coordinator tells it.</summary>
public class ExplainTests
{
    private readonly Rig _rig = new(StepClockTests.Plan(servers: 1, stepsPerEpoch: 8, totalSteps: 100) with { Watchdog = TimeSpan.FromSeconds(30), RejoinTimeout = TimeSpan.FromDays(1) });

    [Fact]
    public void NoStepForAWhile_NamesTheWorkerWhoseShardsAServerLacks()
    {
        (List<Rig.Link> servers, List<Rig.Link> workers) = _rig.Start();
        Wait(29);
        Assert.DoesNotContain(servers[0].Sent, m => m is Explain);
        Wait(2);
        long round = servers[0].Last<Explain>().Round;

        _rig.Say(servers[0], new Explained(round, "waits for shards") { Step = 0, Shards = [2, 3], Buckets = [3, 7] });
        _rig.Say(workers[0], new Explained(round, "has done its part of step 0 and\nwaits for the weights of step 1"));
        Assert.DoesNotContain(_rig.Events.OfType<string>(), e => e.Contains("nothing has happened", StringComparison.Ordinal));
        Wait(1);

        Assert.Equal(
            [
                "nothing has happened for 32 s: step 0 of 100 is in hand, steps below 4 may be done",
                "  worker 3 (pid 1000 on host) does not answer (shards [2,4))",
                "  server 1 (pid 1000 on host): step 0 waits for shards 2, 3 of worker 3 (pid 1000 on host) in buckets 3, 7",
                "  worker 2 (pid 1000 on host): has done its part of step 0 and waits for the weights of step 1 (shards [0,2))",
            ],
            _rig.Events.OfType<string>().TakeLast(4));
    }

    [Fact]
    public void Stall_IsToldAtGrowingIntervals_AndItsEnd()
    {
        (List<Rig.Link> servers, _) = _rig.Start();
        for (int second = 0; second < 250; second++) Wait(1);
        Assert.Equal(["30", "60", "120", "240"], Told().Select(t => t.Split(' ')[4]).Select(Round));

        _rig.Say(servers[0], _rig.Applied(servers[0], 0));
        Wait(0);

        Assert.Contains("steps go on: step 1 is reached, after 250 s", _rig.Events);
        Wait(29);
        Assert.Equal(4, Told().Count());

        IEnumerable<string> Told() => _rig.Events.OfType<string>().Where(e => e.StartsWith("nothing has happened", StringComparison.Ordinal));

        // The answers take a second.
        static string Round(string seconds) => (int.Parse(seconds, System.Globalization.CultureInfo.InvariantCulture) / 10 * 10).ToString(System.Globalization.CultureInfo.InvariantCulture);
    }

    [Fact]
    public void Request_IsAnsweredAtOnceByWhatMembersSay()
    {
        (List<Rig.Link> servers, List<Rig.Link> workers) = _rig.Start();

        _rig.Tell(new ExplanationRequested());
        foreach (Rig.Link member in workers.Append(servers[0])) _rig.Say(member, new Explained(member.Last<Explain>().Round, new string('x', 5000)));

        string[] told = [.. _rig.Events.OfType<string>().TakeLast(4)];
        Assert.Equal("step 0 of 100 is in hand, steps below 4 may be done", told[0]);
        Assert.All(told, line => Assert.True(line.Length < 500));
        // Once more, at once: an answer to the question before is none.
        _rig.Tell(new ExplanationRequested());
        _rig.Say(servers[0], new Explained(1, "old"));
        Assert.DoesNotContain(_rig.Events.OfType<string>(), e => e.Contains("old", StringComparison.Ordinal));
    }

    [Fact]
    public void Request_BeforeTheClusterHasFormed_SaysWhoIsThere()
    {
        _rig.Tell(new ExplanationRequested());
        Assert.Equal("waiting for members: 0 of 2 workers and 0 of 1 servers have joined", _rig.Events.OfType<string>().Last());
        Rig.Link server = _rig.Join(MemberRole.Server);
        _rig.Tell(new ExplanationRequested());
        _rig.Say(server, new Explained(server.Last<Explain>().Round, "has heard of no term yet"));
        Assert.Equal(["waiting for members: 0 of 2 workers and 1 of 1 servers have joined", "  server 1 (pid 1000 on host): has heard of no term yet"], _rig.Events.OfType<string>().TakeLast(2));
    }

    [Theory]
    [InlineData("accepting", "term 2 waits for server 1 (pid 1000 on host) to accept it")]
    [InlineData("owning", "term 2 waits for server 1 (pid 1000 on host) to take their partition of step 0")]
    [InlineData("evaluating", "step 8 is being evaluated by worker 2 (pid 1000 on host), worker 3 (pid 1000 on host)")]
    [InlineData("saving", "step 11 of 100 is in hand, steps below 11 may be done; nothing beyond before the checkpoints at step 8 and 10 are written")]
    public void Stall_SaysWhatTheCoordinatorItselfWaitsFor(string phase, string expected)
    {
        var rig = new Rig(StepClockTests.Plan(servers: 1, stepsPerEpoch: 8, totalSteps: 100, checkpointEvery: phase == "saving" ? 2 : 0, evaluates: phase == "evaluating") with { Watchdog = TimeSpan.FromSeconds(30), ForetellsSaving = phase == "saving" });
        Rig.Link server = rig.Join(MemberRole.Server);
        Rig.Link worker = rig.Join(MemberRole.Worker);
        rig.Join(MemberRole.Worker);
        if (phase == "owning") rig.Say(server, new TermAccepted(server.Last<AcceptTerm>().Term, 0, default));
        if (phase is "evaluating" or "saving")
        {
            rig.Lead([server], 0);
            for (long step = 0; step < worker.Last<Clock>().GrantedUntil; step++)
            {
                rig.Say(server, rig.Applied(server, step));
                if (phase == "saving" && step + 1 is 2 or 4 or 6) rig.Tell(new CheckpointWritten(step + 1, "runs/x"));
            }
        }

        for (int i = 0; i < 32; i++)
        {
            rig.Time.Advance(TimeSpan.FromSeconds(1));
            rig.Tell(new Tick());
        }

        Assert.Contains(rig.Events.OfType<string>(), e => e.EndsWith(expected, StringComparison.Ordinal));
    }

    private void Wait(int seconds)
    {
        // As the host does: ticks come a few times a second.
        _rig.Tell(new Tick());
        _rig.Time.Advance(TimeSpan.FromSeconds(seconds));
        _rig.Tell(new Tick());
    }
}
