using DistTrain.Fuzz.Targets;

namespace DistTrain.Fuzz;

/// <summary>The targets there are, by name.</summary>
internal static class FuzzTargets
{
    private static readonly Dictionary<string, Func<FuzzTarget>> Makers = new(StringComparer.Ordinal)
    {
        ["frames"] = () => new FramesTarget(),
        ["headers"] = () => new HeadersTarget(),
        ["messages"] = () => new MessagesTarget(),
        ["coordinator"] = () => new CoordinatorTarget(),
        ["server"] = () => new ServerTarget(),
        ["worker"] = () => new WorkerTarget(),
        ["weights"] = () => new WeightsTarget(),
        ["pieces"] = () => new PiecesTarget(),
        ["line"] = () => new LineTarget(),
        ["safetensors"] = () => new SafetensorsTarget(),
        ["manifest"] = () => new ManifestTarget(),
        ["checkpoint"] = () => new CheckpointTarget(),
        ["idx"] = () => new IdxTarget(),
        ["npy"] = () => new NpyTarget(),
        ["csv"] = () => new CsvTarget(),
        ["text"] = () => new PlainTextTarget(),
        ["tagged"] = () => new TaggedTarget(),
        ["job"] = () => new JobTarget(),
    };

    public static IReadOnlyList<string> Names { get; } = [.. Makers.Keys];

    public static FuzzTarget Make(string name) => Makers[name]();
}
