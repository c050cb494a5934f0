using DistTrain.Kernels;

namespace DistTrain.Nn;

/// <content>The way back.</content>
internal sealed unsafe partial class RecurrentLayer
{
    // The kernels take no weight gradients here: those are wanted for each node of the plan.
    private static readonly SequenceLeaves NoLeaves = new();

    /// <summary>
    /// Through time, the last direction first; then each tensor's gradient for every node. The inputs' gradient is the
    /// forward direction's plus the backward one's.
    /// </summary>
    public override void Backward(NodeBuffers node, StepContext step)
    {
        int rows = step.Rows;
        long inputs = (long)rows * _time * _inputs;
        long outputs = _last ? 0 : (long)rows * _time * Width;
        long state = (long)rows * _hidden;
        float* x = node.Scratch;
        float* dy = x + inputs;
        float* dState = dy + outputs;
        float* dx = dState + (2 * state);
        float* room = dx + (_directions.Length * inputs);
        TimeMajor.From(node.Input(), rows, _time, _inputs, x);
        if (!_last) TimeMajor.From(node.OutputGradient, rows, _time, Width, dy);
        bool wanted = node.InputGradient() != null;
        for (int d = _directions.Length - 1; d >= 0; d--)
        {
            Tape tape = TapeOf(node, rows, d);
            if (rows > 0)
            {
                Elementwise.Fill(dState, (nint)(2 * state), 0);
                for (long row = 0; _last && row < rows; row++) TimeMajor.Copy(node.OutputGradient + (row * Width) + (d * _hidden), dState + (row * _hidden), _hidden);
                RunBack(node, step, d, x, _last ? null : dy + (d * _hidden), dState, dState + state, wanted ? dx + (d * inputs) : null, in tape, room);
            }

            TakeGradients(step, d, x, in tape);
        }

        if (!wanted) return;
        if (_directions.Length == 2) Elementwise.Add(dx, dx + inputs, dx, (nint)inputs, step.Pool);
        TimeMajor.To(dx, rows, _time, _inputs, node.InputGradient());
    }

    private void RunBack(NodeBuffers node, StepContext step, int d, float* x, float* dy, float* dState, float* dCell, float* dx, in Tape tape, float* room)
    {
        SequenceShape shape = Shape(step.Rows, d);
        RecurrentWeights weights = Weights(node, step, d);
        weights.Packed!.PackBackward(weights, dx != null);
        int* lengths = Lengths(node);
        RecurrentGradients none = default;
        switch (_cell)
        {
            case RecurrentCell.Lstm:
                Lstm.Backward(in shape, x, _inputs, in weights, lengths, tape.Lstm(room), dy, Width, dState, dCell, dx, _inputs, NoLeaves, in none, step.Pool);
                break;
            case RecurrentCell.Gru:
                Gru.Backward(in shape, x, _inputs, in weights, lengths, tape.Gru(room), dy, Width, dState, dx, _inputs, NoLeaves, in none, step.Pool);
                break;
            default:
                Rnn.Backward(in shape, _cell == RecurrentCell.Relu, x, _inputs, in weights, lengths, tape.Rnn(room), dy, Width, dState, dx, _inputs, NoLeaves, in none, step.Pool);
                break;
        }
    }

    // The gates' array now holds the gradients of the products' sums: with the input the first columns; with the state the
    // same, but for a GRU's last gate, whose product with the state has its own.
    private void TakeGradients(StepContext step, int d, float* x, in Tape tape)
    {
        RecurrentParameters p = _directions[d];
        GradientPlan plan = step.Plan!;
        TimeMajorRanges leaves = step.TimeMajor;
        float* before = tape.States + (d == 1 ? (long)step.Rows * _hidden : 0);
        int units = Gates * _hidden;
        int same = _cell == RecurrentCell.Gru ? 2 * _hidden : units;
        for (int j = 0; j < plan.NodeCount; j++)
        {
            leaves.Set(plan.RangesOf(j), _time, step.Rows);
            float* recurrent = step.Gradient(p.Recurrent, j);
            float* inputBias = p.InputBias is null ? null : step.Gradient(p.InputBias, j);
            float* recurrentBias = p.RecurrentBias is null ? null : step.Gradient(p.RecurrentBias, j);
            SegmentedGemm.WeightGradient(
                tape.Gates, GateWidth, x, _inputs, units, _inputs, leaves.Ranges, leaves.LeafStarts, step.Gradient(p.Input, j), _inputs, step.Pool, inputBias);
            SegmentedGemm.WeightGradient(
                tape.Gates, GateWidth, before, _hidden, same, _hidden, leaves.Ranges, leaves.LeafStarts, recurrent, _hidden, step.Pool);
            if (recurrentBias != null) TimeMajor.Copy(inputBias, recurrentBias, same);
            if (same == units) continue;
            SegmentedGemm.WeightGradient(
                tape.Gates + (3 * _hidden), GateWidth, before, _hidden, _hidden, _hidden, leaves.Ranges, leaves.LeafStarts,
                recurrent + ((long)same * _hidden), _hidden, step.Pool, recurrentBias == null ? null : recurrentBias + same);
        }

        if (p.RecurrentBias is not null) step.Finished(p.RecurrentBias);
        if (p.InputBias is not null) step.Finished(p.InputBias);
        step.Finished(p.Recurrent);
        step.Finished(p.Input);
    }
}
