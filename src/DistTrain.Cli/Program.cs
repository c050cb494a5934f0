return await DistTrain.Cli.App.RunAsync(args, DistTrain.Cli.CliContext.OfThisProcess());
