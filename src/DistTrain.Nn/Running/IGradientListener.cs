namespace DistTrain.Nn;

/// <summary>Hears of gradients as backward finishes them, so that they can travel while it goes on.</summary>
public interface IGradientListener
{
    /// <summary>
    /// All nodes' gradients of elements [<paramref name="flatStart"/>, <paramref name="flatEnd"/>) of the flat vector
    /// are final. Called on the thread that runs backward, from the last layer to the first; every range of the flat
    /// vector, padding included, is announced exactly once in a backward pass.
    /// </summary>
    void Ready(long flatStart, long flatEnd);

    /// <summary>
    /// As <see cref="Ready"/>, of elements that are packed in <see cref="GradientPlan.Sums"/> and not in the nodes' gradients. Only
    /// where the plan has a <see cref="GradientPlan.Rounding"/>.
    /// </summary>
    void ReadyPacked(long flatStart, long flatEnd) => throw new NotSupportedException("This listener's plans ask for no rounding.");
}
