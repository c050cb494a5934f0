using DistTrain.Core;
using DistTrain.Core.Channels;
using DistTrain.Core.Layout;
using DistTrain.Kernels;
using DistTrain.Training.Worker;

namespace DistTrain.Training.Tests.Worker;

public sealed class FreshWeightsTests : IDisposable
{
    private const long Term = 2;

    private readonly BucketPlan _plan;
    private readonly FreshWeights _weights;
    private readonly NativeBuffer _source = new(64);
    private int _arrived;

    public FreshWeightsTests()
    {
        var layout = new ParameterLayout([("a", [64], TensorRole.Parameter), ("b", [32], TensorRole.Parameter)]);
        _plan = new BucketPlan(layout, 1, 64);
        _weights = new FreshWeights(layout, _plan, Term, () => _arrived++, _ => { }, WireFormat.Exact);
    }

    public void Dispose()
    {
        _weights.Dispose();
        _source.Dispose();
    }

    private void Arrive(int bucket, float value, long updates, long version, long taken = 0)
    {
        _source.Span.Fill(value);
        var header = new WeightsHeader(Term, version, bucket) { Updates = updates, Taken = taken };
        Assert.True(_weights.ReadAsync(header, Source(_plan.Buckets[bucket].Length), null, CancellationToken.None).IsCompletedSuccessfully);
    }

    private float[] Now()
    {
        _weights.Refresh();
        return Held();
    }

    private unsafe float[] Held() => [_weights.Pointer[0], _weights.Pointer[_plan.Buckets[1].Offset]];

    private unsafe NativeSpan Source(int length) => new((nint)_source.Pointer, length);

    [Fact]
    public void Weights_ThatArrive_AreComputedWithAfterTheNextRefresh()
    {
        Arrive(0, 1, updates: 0, version: 0);
        _weights.Refresh();
        Assert.Equal(-1, _weights.Version);
        Arrive(1, 2, updates: 0, version: 0);
        Assert.Equal([1f, 2], Now());
        Assert.Equal(0, _weights.Version);
        Arrive(0, 3, updates: 2, version: 0);
        Assert.Equal([1f, 2], Held());
        Assert.Equal([3f, 2], Now());
        Arrive(0, 9, updates: 1, version: 0);
        Assert.Equal([3f, 2], Now());
    }

    [Fact]
    public void Version_IsThatOfTheBucketThatIsFurthestBehind()
    {
        Arrive(0, 1, updates: 5, version: 2);
        Arrive(1, 1, updates: 4, version: 1);
        _weights.Refresh();
        Assert.Equal(1, _weights.Version);
        // The same weights, of which more is known by now.
        Arrive(1, 1, updates: 4, version: 2);
        _weights.Refresh();
        Assert.Equal(2, _weights.Version);
    }

    [Fact]
    public async Task Bucket_ThatIsBeingWritten_IsLeftOut()
    {
        Arrive(0, 1, updates: 0, version: 0);
        Arrive(1, 1, updates: 0, version: 0);
        _weights.Refresh();
        var header = new WeightsHeader(Term, 1, 0) { Updates = 1 };
        NativeSpan place = await _weights.BeginAsync(header, CancellationToken.None);
        place.Span[0] = 7;
        Assert.Equal([1f, 1], Now());
        _weights.Complete(header);
        Assert.Equal([7f, 1], Now());

        // One that breaks off comes again, even if it is no newer.
        place = await _weights.BeginAsync(header with { Updates = 2 }, CancellationToken.None);
        place.Span[0] = 8;
        _weights.Abort(header with { Updates = 2 });
        Assert.Equal([7f, 1], Now());
        Arrive(0, 9, updates: 2, version: 1);
        Assert.Equal([9f, 1], Now());
    }

    [Fact]
    public void Rounds_AreTaken_OnceEveryServerIsPastThem()
    {
        Arrive(0, 1, updates: 0, version: 0, taken: 3);
        Arrive(1, 1, updates: 0, version: 0, taken: 2);
        Assert.Equal((true, false), (_weights.IsTaken(1), _weights.IsTaken(2)));
        // Also without newer weights.
        Arrive(1, 1, updates: 0, version: 0, taken: 3);
        Assert.Equal((true, false), (_weights.IsTaken(2), _weights.IsTaken(3)));
    }

    [Fact]
    public void Await_IsAnsweredOnce_ByWhatComesNext()
    {
        Arrive(0, 1, updates: 0, version: 0);
        Assert.Equal(0, _arrived);
        _weights.Await();
        Arrive(1, 1, updates: 0, version: 0);
        Arrive(1, 1, updates: 1, version: 0);
        Assert.Equal(1, _arrived);
        _weights.Await();
        Arrive(1, 1, updates: 1, version: 0, taken: 1);
        Assert.Equal(2, _arrived);
    }

    [Fact]
    public async Task OtherTermsAndBuckets_AreDropped()
    {
        foreach (WeightsHeader header in (WeightsHeader[])[new(Term + 1, 0, 0), new(Term, 0, 2), new(Term, 0, -1), new(Term, -1, 0)])
        {
            Assert.Equal(default, await _weights.BeginAsync(header, CancellationToken.None));
        }

        Assert.Throws<DistTrainException>(() => { _ = _weights.ReadAsync(new(Term, 0, 0), Source(63), null, CancellationToken.None).AsTask(); });
    }
}
