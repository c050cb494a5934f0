using DistTrain.Data;

namespace DistTrain.Training.Worker;

/// <summary>Gathers the partners of a worker's rows, which may be other workers' rows, too, and mixes the two.</summary>
internal sealed class MixedRows
{
    private readonly IDataset _train;
    private readonly Sampler _sampler;
    private readonly Augmenter _augmenter;
    private readonly Mixer _mixer;
    private readonly int[] _positions;
    private readonly int[] _partners;
    private readonly int[] _labels;
    private readonly int[] _partnerLabels;
    private readonly long[] _examples;
    private readonly float[] _images;

    public MixedRows(WorkerSetup setup, Sampler sampler, Augmenter augmenter, int maxRows)
    {
        (_train, _sampler, _augmenter) = (setup.Train, sampler, augmenter);
        _mixer = new Mixer(setup.Augment, setup.Train.InputShape, setup.Train.Target, setup.Seed);
        (_positions, _partners, _labels, _partnerLabels) = (new int[maxRows], new int[maxRows], new int[maxRows], new int[maxRows]);
        _examples = new long[maxRows];
        _images = new float[checked(maxRows * setup.Train.FeatureCount)];
    }

    /// <summary>Mixes rows in place.</summary>
    /// <param name="step">Which step.</param>
    /// <param name="batch">Its mini-batch.</param>
    /// <param name="rows">Which rows of it these are.</param>
    /// <param name="examples">(rows): their examples.</param>
    /// <param name="images">(rows, features): gathered and augmented.</param>
    /// <param name="targets">(rows, classes): receives soft targets.</param>
    public void Apply(long step, MiniBatch batch, ShardRows rows, ReadOnlySpan<long> examples, Span<float> images, Span<float> targets)
    {
        int count = rows.Rows;
        for (int leaf = 0; leaf < rows.Shards.Count; leaf++)
        {
            int first = rows.Plan.LeafRows[leaf];
            for (int row = first; row < rows.Plan.LeafRows[leaf + 1]; row++) _positions[row] = rows.Plan.LeafPositions[leaf] + row - first;
        }

        ReadOnlySpan<int> positions = _positions.AsSpan(0, count);
        Span<int> partners = _partners.AsSpan(0, count), labels = _labels.AsSpan(0, count), partnerLabels = _partnerLabels.AsSpan(0, count);
        Span<long> others = _examples.AsSpan(0, count);
        Span<float> otherImages = _images.AsSpan(0, images.Length);
        _mixer.Partners(step, batch.Size, positions, partners);
        _sampler.Fill(batch, partners, others);
        _train.GatherInputs(others, otherImages);
        _augmenter.Apply(batch.Epoch, others, otherImages);
        _train.GatherLabels(examples, labels);
        _train.GatherLabels(others, partnerLabels);
        _mixer.Apply(step, positions, images, otherImages, labels, partnerLabels, targets);
    }
}
