using System.Collections.Immutable;

namespace DistTrain.Nn;

/// <summary>
/// A layer with its shapes known. It holds no state of a run: values and gradients lie in planned buffers that
/// <see cref="NodeBuffers"/> names, weights and gradient sums in flat vectors that <see cref="StepContext"/> resolves.
/// Shards are independent of each other in <see cref="Forward"/>, and everything summed over rows is summed per shard
/// and joined along the shard tree (DESIGN, I1).
/// </summary>
/// <param name="outputShape">The shape of one example's output.</param>
internal abstract class Layer(ImmutableArray<int> outputShape)
{
    /// <summary>The shape of one example's output.</summary>
    public ImmutableArray<int> OutputShape { get; } = outputShape;

    /// <summary>Values of one example's output.</summary>
    public int OutputWidth { get; } = Shapes.Width(outputShape);

    /// <summary>The tensors it trains, in layout order.</summary>
    public virtual ImmutableArray<Parameter> Parameters => [];

    /// <summary>Floating-point operations of one example's forward pass; a multiply-add counts as two.</summary>
    public virtual long Flops => OutputWidth;

    /// <summary>Whether its output is its input's own memory, so that there is nothing to run.</summary>
    public virtual bool IsView => false;

    /// <summary>Whether <see cref="Backward"/> reads the input's values, which the plan then keeps.</summary>
    public virtual bool BackwardReadsInput => false;

    /// <summary>Whether <see cref="Backward"/> reads the output's values, which the plan then keeps.</summary>
    public virtual bool BackwardReadsOutput => false;

    /// <summary>What <see cref="Forward"/> leaves for <see cref="Backward"/> beside values: <see cref="NodeBuffers.Kept"/>.</summary>
    public virtual Room Kept => default;

    /// <summary>What a pass works in and leaves nothing in: <see cref="NodeBuffers.Scratch"/>.</summary>
    public virtual Room Scratch => default;

    /// <summary>
    /// Another layer of the network whose <see cref="NodeBuffers.Kept"/> this one's backward writes to; it comes earlier,
    /// so its backward comes later. Null for none.
    /// </summary>
    public virtual Layer? Partner => null;

    /// <summary>What each run needs for itself and can't keep in plain floats: <see cref="NodeBuffers.State"/>.</summary>
    public virtual IDisposable? NewState() => null;

    /// <summary>This layer and <paramref name="next"/>, which alone reads its output, as one; null when they can't be.</summary>
    public virtual Layer? Fuse(Layer next) => null;

    /// <summary>
    /// This layer and <paramref name="next"/>, which alone reads its output, with some of this one's way back done by
    /// the next; null when there is nothing to hand over.
    /// </summary>
    public virtual (Layer Self, Layer Next)? HandOver(Layer next) => null;

    /// <summary>Computes the output of <see cref="StepContext.Rows"/> rows.</summary>
    public abstract void Forward(NodeBuffers node, StepContext step);

    /// <summary>
    /// From the output's gradient, computes the parameters' gradient sums for every node of the plan, calling
    /// <see cref="StepContext.Finished"/> as soon as each is final, and the input's gradient where one is wanted.
    /// It may overwrite the output's gradient.
    /// </summary>
    public abstract void Backward(NodeBuffers node, StepContext step);
}
