using DistTrain.Cli;
using DistTrain.Cli.FakeRoles;

// The command line as it is, over roles that only find each other, wait, and do what FAKE_… variables say: so launcher,
// lifelines and signals are tested with real processes.
CliContext context = CliContext.OfThisProcess() with { Runners = new Runners(Fake.CoordinateAsync, Fake.WorkerAsync, Fake.ServerAsync, Fake.InProcessAsync) };
return await App.RunAsync(args, context);
