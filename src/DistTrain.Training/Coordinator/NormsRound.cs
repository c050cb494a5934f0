using System.Collections.Immutable;
using DistTrain.Core.Layout;
using DistTrain.Core.Messages;

namespace DistTrain.Training.Coordinator;

/// <summary>
/// Joins what partitions measured of a step into a sum of squares for each tensor of each vector measured: blocks along a fixed tree within each
/// tensor (DESIGN, I1), so that it does not show how many partitions there are.
/// </summary>
internal sealed class NormsRound
{
    private readonly ParameterLayout _layout;
    private readonly ImmutableArray<float>[] _measured;
    private readonly int _vectors;
    private long _step = -1;
    private int _missing;

    /// <summary>For a number of vectors, each as long as the layout, that reports hold one after the other.</summary>
    public NormsRound(ParameterLayout layout, int partitions, int vectors = 1)
    {
        (_layout, _vectors) = (layout, vectors);
        _measured = new ImmutableArray<float>[partitions];
    }

    /// <summary>Takes a report; gives each tensor's sum when it is the last one of its step.</summary>
    public ImmutableArray<double>? Take(NormsMeasured report)
    {
        if (report.Step < _step) return null;
        if (report.Step > _step)
        {
            _step = report.Step;
            _missing = _measured.Length;
            Array.Clear(_measured);
        }

        if (!_measured[report.Partition].IsDefault) return null;
        _measured[report.Partition] = report.Squares;
        return --_missing == 0 ? Join() : null;
    }

    private ImmutableArray<double>? Join()
    {
        if (_measured.Any(m => m.Length % _vectors != 0)) return null;
        var tensors = ImmutableArray.CreateBuilder<double>(_layout.Tensors.Length * _vectors);
        for (int vector = 0; vector < _vectors; vector++)
        {
            float[] blocks = [.. _measured.SelectMany(m => m.AsSpan(m.Length / _vectors * vector, m.Length / _vectors).ToArray())];
            if (TensorSquares.Of(_layout, blocks) is not { } squares) return null;
            tensors.AddRange(squares);
        }

        return tensors.MoveToImmutable();
    }
}
