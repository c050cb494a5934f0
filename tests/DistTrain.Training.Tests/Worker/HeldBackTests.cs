using DistTrain.Core.Channels;
using DistTrain.Core.Layout;
using DistTrain.Core.Sharding;
using DistTrain.Training.Worker;

namespace DistTrain.Training.Tests.Worker;

/// <summary>What top-k holds back: nothing is lost, and nothing counts twice, whichever nodes are sent.</summary>
public sealed unsafe class HeldBackTests
{
    private const int Shards = 4;

    private static readonly ParameterLayout Layout = new([("a", [5000], TensorRole.Parameter), ("mean", [20], TensorRole.Buffer), ("b", [40], TensorRole.Parameter)]);
    private static readonly BucketPlan Plan = new(Layout, 1, 4096);
    private static readonly ShardTree Tree = new(Shards);
    private static readonly TopKFormat Wire = new(Layout, 0.01);

    [Fact]
    public void Sums_OfWhatIsSentAndHeld_AreThoseOfTheGradients()
    {
        using var worker = new Sender();
        double[] sent = new double[Layout.Length], expected = new double[Layout.Length];
        for (int step = 0; step < 6; step++) worker.Step(step, [0, 1, 2, 3], whole: false, sent, expected);
        Assert.True(Distance(sent, expected) > 1);
        int words = worker.Step(6, [0, 1, 2, 3], whole: true, sent, expected);
        Assert.Equal(Layout.Length, words);
        Assert.True(Distance(sent, expected) < 1e-3);
        Assert.True(worker.Step(7, [0, 1, 2, 3], whole: false, sent, expected) < Layout.Length / 20);
    }

    // Another worker is lost and this one takes its shards, in the step under way and from then on; later it gives them away again.
    [Fact]
    public void Reassignments_LoseNothingAndCountNothingTwice()
    {
        using var worker = new Sender();
        double[] sent = new double[Layout.Length], expected = new double[Layout.Length];
        worker.Step(0, [0, 1], whole: false, sent, expected);
        worker.Assign([0, 1, 2, 3]);
        worker.Step(0, [2, 3], whole: false, sent, expected);
        worker.Step(1, [0, 1, 2, 3], whole: false, sent, expected);
        worker.Assign([3]);
        worker.Step(2, [3], whole: false, sent, expected);
        worker.Assign([0]);
        worker.Step(3, [0], whole: false, sent, expected);
        worker.Step(4, [0], whole: true, sent, expected);
        Assert.True(Distance(sent, expected) < 1e-3);
    }

    [Fact]
    public void Clear_ForgetsWhatIsHeld()
    {
        using var worker = new Sender();
        worker.Step(0, [0, 1, 2, 3], whole: false, new double[Layout.Length], new double[Layout.Length]);
        worker.Forget();
        double[] sent = new double[Layout.Length], expected = new double[Layout.Length];
        worker.Step(1, [0, 1, 2, 3], whole: true, sent, expected);
        Assert.True(Distance(sent, expected) < 1e-3);
    }

    [Fact]
    public void Buffers_TravelWholeAtEveryStep()
    {
        using var worker = new Sender();
        double[] sent = new double[Layout.Length], expected = new double[Layout.Length];
        worker.Step(0, [0, 1, 2, 3], whole: false, sent, expected);
        TensorEntry buffer = Layout.Tensors[1];
        Assert.Equal(expected[(int)buffer.Offset..(int)buffer.End], sent[(int)buffer.Offset..(int)buffer.End]);
    }

    [Fact]
    public void Payload_SentAgain_HasTheSameBytes()
    {
        using var worker = new Sender();
        worker.Step(0, [0, 1, 2, 3], whole: false, new double[Layout.Length], new double[Layout.Length]);
        float[] before = worker.Round.Payload(0, Plan.Buckets[0]).Span.ToArray();
        worker.Step(1, [0, 1, 2, 3], whole: false, new double[Layout.Length], new double[Layout.Length], other: true);
        Assert.Equal(before, worker.Round.Payload(0, Plan.Buckets[0]).Span.ToArray());
    }

    [Fact]
    public void Fits_TakesPackedAndWholeSegmentsOnly()
    {
        Bucket bucket = Plan.Buckets[0];
        Assert.Equal([62, 4096], Enumerable.Range(0, 5000).Where(words => Wire.Fits(bucket, words)));
        Assert.Equal([1025], Enumerable.Range(0, 5000).Where(words => new Int8Format(Layout, 1).Fits(bucket, words)));
        Assert.Equal([2048], Enumerable.Range(0, 5000).Where(words => WireFormat.Of(Kernels.FloatFormat.BFloat16).Fits(bucket, words)));
    }

    private static double Distance(double[] a, double[] b) => Math.Sqrt(a.Zip(b).Sum(p => (p.First - p.Second) * (p.First - p.Second)));

    private sealed class Sender : IDisposable
    {
        private readonly GradientVectors _vectors = new(Layout.Length);
        private readonly HeldBack _held = new(Layout.Length);
        private readonly GradientRound _other;

        public Sender()
        {
            Round = new GradientRound(Layout.Length, Wire, _vectors, false, _held);
            _other = new GradientRound(Layout.Length, Wire, _vectors, false, _held);
            Assign([0, 1]);
        }

        public GradientRound Round { get; }

        public void Assign(int[] shards) => _held.Assign(shards, Shards);

        public void Forget() => _held.Clear();

        // Adds what was sent, and what the gradients are; the words of a node's segments.
        public int Step(int step, int[] shards, bool whole, double[] sent, double[] expected, bool other = false)
        {
            GradientRound round = other ? _other : Round;
            var rows = new ShardRows(Tree, shards, 64);
            round.Begin(step, rows, whole);
            round.BeginSealing();
            int words = 0;
            for (int node = 0; node < rows.Nodes.Count; node++)
            {
                float* gradient = (float*)rows.Plan.Gradients[node];
                var random = new Random((step * 100) + rows.Nodes[node].Lo);
                foreach (TensorEntry tensor in Layout.Tensors)
                {
                    for (long i = tensor.Offset; i < tensor.End; i++) expected[i] += gradient[i] = (random.NextSingle() * 2) - 1;
                }
            }

            float[] values = new float[Layout.Length];
            foreach (Bucket bucket in Plan.Buckets)
            {
                round.Seal(bucket);
                for (int node = 0; node < rows.Sent.Count; node++)
                {
                    NativeSpan payload = round.Payload(node, bucket);
                    words += payload.Length;
                    fixed (float* v = values) Assert.True(Wire.Unpack(payload, v + bucket.Offset, bucket));
                    for (long i = bucket.Offset; i < bucket.End; i++) sent[i] += values[i];
                }
            }

            return words;
        }

        public void Dispose()
        {
            Round.Dispose();
            _other.Dispose();
            _held.Dispose();
            _vectors.Dispose();
        }
    }
}
