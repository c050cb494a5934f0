using System.CommandLine;
using DistTrain.Bench.Distributed;
using DistTrain.Core;

namespace DistTrain.Cli.Commands;

/// <summary>The options of <c>bench train</c> that make it measure a whole cluster.</summary>
internal sealed class ClusterBenchOptionsReader
{
    private static readonly string[] Channels = ["shared-memory", "grpc", "in-process"];

    private readonly Option<int?> _workers = new("--workers") { HelpName = "N", Description = "Measures a cluster of so many workers with one thread each, in turn with one process of ours and with PyTorch's DistributedDataParallel over gloo." };
    private readonly Option<string> _channel = new("--channel") { HelpName = "NAME", DefaultValueFactory = _ => Channels[0], Description = "With --workers: shared-memory, grpc or in-process." };
    private readonly Option<string> _servers = new("--servers") { HelpName = "K", DefaultValueFactory = _ => "1", Description = "With --workers: parameter servers, or colocated." };
    private readonly Option<int> _shards = new("--shards") { HelpName = "S", DefaultValueFactory = _ => 8, Description = "With --workers: shards of a mini-batch." };
    private readonly Option<int?> _batch = new("--batch") { HelpName = "B", Description = "With --workers: examples of a mini-batch." };
    private readonly Option<int> _rounds = new("--rounds") { HelpName = "N", DefaultValueFactory = _ => 5, Description = "With --workers: runs of each contender." };
    private readonly Option<string[]> _overrides = new("--set") { HelpName = "KEY=VALUE", DefaultValueFactory = _ => [], Description = "With --workers: changes a key of our job." };

    public IReadOnlyList<Option> All => [_workers, _channel, _servers, _shards, _batch, _rounds, _overrides];

    /// <summary>What was asked for; null when no cluster was.</summary>
    public ClusterBenchOptions? Read(ParseResult parsed)
    {
        if (parsed.GetValue(_workers) is not { } workers)
        {
            if (All.Skip(1).FirstOrDefault(o => parsed.GetResult(o) is { Implicit: false }) is { } alone) throw new DistTrainException(ExitCode.BadUsage, $"{alone.Name}: only together with --workers");
            return null;
        }

        string channel = parsed.GetValue(_channel)!, servers = parsed.GetValue(_servers)!;
        if (!Channels.Contains(channel)) throw new DistTrainException(ExitCode.BadUsage, $"--channel {channel}: there is no such channel{NearestName.Hint(channel, Channels)}");
        int count = 0;
        if (servers != "colocated" && !(int.TryParse(servers, out count) && count is >= 1 and <= 64)) throw new DistTrainException(ExitCode.BadUsage, $"--servers {servers}: a number from 1 to 64, or colocated");
        return new ClusterBenchOptions
        {
            Workers = Between("--workers", workers, 1, 256),
            Servers = count,
            Channel = channel,
            Shards = Between("--shards", parsed.GetValue(_shards), 1, 4096),
            Batch = parsed.GetValue(_batch) is { } batch ? Between("--batch", batch, 1, 65536) : null,
            Rounds = Between("--rounds", parsed.GetValue(_rounds), 1, 1000),
            Overrides = parsed.GetValue(_overrides) ?? [],
        };
    }

    private static int Between(string name, int value, int least, int most) =>
        value >= least && value <= most ? value : throw new DistTrainException(ExitCode.BadUsage, $"{name}: must be from {least} to {most}");
}
