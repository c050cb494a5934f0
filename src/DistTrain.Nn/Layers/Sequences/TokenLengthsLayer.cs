namespace DistTrain.Nn;

/// <summary>
/// How many positions of each row count: those up to the last one whose first id is not the padding. It gives one int
/// per row, in a value of width 1 that recurrent layers, attention, pooling over time and the loss read.
/// </summary>
/// <param name="time">Positions of a row.</param>
/// <param name="ids">Ids of a position.</param>
/// <param name="column">Which of them tells padding.</param>
/// <param name="padding">The padding's id.</param>
internal sealed unsafe class TokenLengthsLayer(int time, int ids, int column, int padding) : Layer([1])
{
    /// <inheritdoc/>
    public override long Flops => 0;

    /// <inheritdoc/>
    public override void Forward(NodeBuffers node, StepContext step)
    {
        var lengths = (int*)node.Output;
        for (int row = 0; row < step.Rows; row++)
        {
            float* x = node.Input() + ((long)row * time * ids) + column;
            int length = time;
            while (length > 0 && x[(long)(length - 1) * ids] == padding) length--;
            lengths[row] = length;
        }
    }

    /// <summary>Lengths have no gradient.</summary>
    public override void Backward(NodeBuffers node, StepContext step)
    {
    }
}
