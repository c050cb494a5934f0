namespace DistTrain.Nn;

/// <summary>Knows which of a pass's weights are there already, so that forward can begin while the rest is on its way.</summary>
public interface IWeightsGate
{
    /// <summary>Whether elements [start, end) of the flat vector are there. Whoever is told no is told later when they are.</summary>
    bool Has(long start, long end);
}
