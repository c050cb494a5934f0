using System.CommandLine;
using System.Globalization;
using DistTrain.Bench.Channels;
using DistTrain.Core;
using DistTrain.Core.Channels;

namespace DistTrain.Cli.Commands;

/// <summary><c>bench channel</c>: how fast tensors move between two processes.</summary>
internal static class BenchChannelCommand
{
    private const int LeastBytes = 1 << 10, MostBytes = 64 << 20;

    public static Command Create(CliContext context)
    {
        var command = new Command("channel", "Measures how fast gradients and weights move between two processes of this machine, in turn with a plain TCP socket.");
        var names = new Argument<string[]>("NAME") { Arity = ArgumentArity.ZeroOrMore, Description = "grpc or shared-memory; both when there is none." };
        var size = new Option<int>("--bucket-bytes") { HelpName = "N", DefaultValueFactory = _ => 1 << 20, Description = "Bytes of a bucket." };
        var seconds = new Option<double>("--seconds") { HelpName = "S", DefaultValueFactory = _ => 4, Description = "Seconds for each direction, about." };
        var connections = new Option<int>("--connections") { HelpName = "N", DefaultValueFactory = _ => 1, Description = "Connections that gRPC's payloads travel over." };
        // What the measuring process starts as its other side: the channel, the server's URL, a port, a bucket's elements, connections.
        var peer = new Option<string[]>("--peer") { Arity = new ArgumentArity(5, 5), Hidden = true, AllowMultipleArgumentsPerToken = true };
        Option<string?> json = CommandTree.JsonOption();
        command.Add(names);
        foreach (Option option in (Option[])[size, seconds, connections, json, peer]) command.Add(option);
        command.SetAction(async (parsed, cancellation) =>
        {
            if (parsed.GetValue(peer) is [var name, var url, var port, var length, var lanes])
            {
                await ChannelPeer.RunAsync(url, int.Parse(port, CultureInfo.InvariantCulture), int.Parse(length, CultureInfo.InvariantCulture), int.Parse(lanes, CultureInfo.InvariantCulture), name == "shared-memory", Console.In, context.Out);
                return 0;
            }

            string? jsonFile = parsed.GetValue(json);
            JsonFile.CheckPlace(jsonFile);
            string[] all = ["grpc", "shared-memory"], asked = parsed.GetValue(names) ?? [];
            if (asked.FirstOrDefault(n => !all.Contains(n)) is { } unknown) throw new DistTrainException(ExitCode.BadUsage, $"bench channel {unknown}: there is no such channel{NearestName.Hint(unknown, all)}");
            int bytes = parsed.GetValue(size);
            if (bytes is < LeastBytes or > MostBytes || bytes % 64 != 0) throw new DistTrainException(ExitCode.BadUsage, $"--bucket-bytes: must be from {LeastBytes} to {MostBytes}, and a multiple of 64");
            if (parsed.GetValue(seconds) is <= 0 or > 600 or double.NaN) throw new DistTrainException(ExitCode.BadUsage, "--seconds: must be above 0 and at most 600");
            if (parsed.GetValue(connections) is < 1 or > Lane.Most) throw new DistTrainException(ExitCode.BadUsage, $"--connections: must be from 1 to {Lane.Most}");
            return BenchReport.Collect(context, jsonFile, "channel", _ => all.Where(n => asked.Length == 0 || asked.Contains(n)).SelectMany(n =>
                ChannelBench.Run([context.Executable.File, .. context.Executable.Prefix, "bench", "channel", "--peer", n], new ChannelBenchOptions(n == "shared-memory", bytes, parsed.GetValue(seconds), parsed.GetValue(connections)), cancellation)));
        });
        return command;
    }
}
