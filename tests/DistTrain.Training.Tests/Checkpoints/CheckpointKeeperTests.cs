using DistTrain.Core;
using DistTrain.Core.Channels;
using DistTrain.Core.Layout;
using DistTrain.Training.Checkpoints;

namespace DistTrain.Training.Tests.Checkpoints;

public sealed class CheckpointKeeperTests : IDisposable
{
    private const long Term = 3;

    private readonly ParameterLayout _layout = new([("w", [8], TensorRole.Parameter)]);
    private readonly List<long> _written = [];
    private readonly CheckpointKeeper _keeper;

    public CheckpointKeeperTests() => _keeper = new CheckpointKeeper(_layout, [], null, s => $"at {s.Version}", (version, _) => _written.Add(version), (_, e) => throw e);

    public void Dispose() => _keeper.Dispose();

    [Fact]
    public async Task Save_VersionsCompletedInTheWrongOrder_KeepsTheNewest()
    {
        _keeper.Expect(Term, 30, []);
        _keeper.Expect(Term, 31, []);
        await SaveAsync(31, 1);
        await SaveAsync(30, 2);

        Assert.Equal([31, 30], _written);
        Assert.Equal((31, "at 31"), (_keeper.Last!.Version, _keeper.LastPath));
        Assert.Equal(1, _keeper.Last.Tensor(ModelSnapshot.Weights, _layout.Tensors[0])[7]);
    }

    [Fact]
    public async Task Save_VersionsInOrder_KeepsTheNewest()
    {
        _keeper.Expect(Term, 30, []);
        _keeper.Expect(Term, 31, []);
        await SaveAsync(30, 2);
        await SaveAsync(31, 1);

        Assert.Equal((31, "at 31"), (_keeper.Last!.Version, _keeper.LastPath));
    }

    [Fact]
    public async Task GoBack_SomeCompleteSomeNot_GivesOutTheNewestAndForgetsTheRest()
    {
        Assert.Equal(0, _keeper.GoBack().Version);
        _keeper.Expect(Term, 10, []);
        await SaveAsync(10, 7);
        _keeper.Expect(Term, 20, []);
        var late = new CheckpointPieceHeader(Term, 20, 0, ModelSnapshot.Weights, 0);
        NativeSpan place = _keeper.Begin(late, (int)_layout.Length);

        Assert.Equal(10, _keeper.GoBack().Version);

        // What is still on its way is written to memory that nobody else has.
        place.Span.Fill(9);
        _keeper.Complete(late, (int)_layout.Length);
        Assert.Throws<DistTrainException>(() => _keeper.Begin(late, 1));
        _keeper.Expect(Term + 1, 20, []);
        _keeper.Expect(Term + 1, 30, []);
        foreach (long version in (long[])[20, 30])
        {
            var header = new CheckpointPieceHeader(Term + 1, version, 0, ModelSnapshot.Weights, 0);
            _keeper.Begin(header, (int)_layout.Length).Span.Fill(version);
            _keeper.Complete(header, (int)_layout.Length);
        }

        await _keeper.FlushAsync();
        Assert.Equal([10, 20, 30], _written);
        // Given out until the next time, whatever was saved since.
        (CheckpointPieceHeader given, NativeSpan piece) = Assert.Single(_keeper.Pieces(Term + 1, 10, 0, _layout.Length));
        Assert.Equal((10, 7f), (given.Version, piece.Span[3]));
        Assert.Equal(30, _keeper.GoBack().Version);
    }

    private async Task SaveAsync(long version, float value)
    {
        var header = new CheckpointPieceHeader(Term, version, 0, ModelSnapshot.Weights, 0);
        _keeper.Begin(header, (int)_layout.Length).Span.Fill(value);
        _keeper.Complete(header, (int)_layout.Length);
        await _keeper.FlushAsync();
    }
}
