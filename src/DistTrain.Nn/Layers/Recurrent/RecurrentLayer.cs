using System.Collections.Immutable;
using DistTrain.Kernels;

namespace DistTrain.Nn;

/// <summary>What runs at each step.</summary>
internal enum RecurrentCell
{
    Tanh,
    Relu,
    Lstm,
    Gru,
}

/// <summary>The tensors of one direction.</summary>
internal sealed record RecurrentParameters(Parameter Input, Parameter Recurrent, Parameter? InputBias, Parameter? RecurrentBias);

/// <summary>
/// One recurrent layer, of one direction or two side by side. The kernels work (time, rows, features), so inputs and
/// gradients are copied into and out of that order in scratch. In weight gradients k ascends as (time, example) in a shard.
/// </summary>
internal sealed unsafe partial class RecurrentLayer : Layer
{
    private readonly RecurrentCell _cell;
    private readonly int _time;
    private readonly int _inputs;
    private readonly int _hidden;
    private readonly ImmutableArray<RecurrentParameters> _directions;
    private readonly bool _last;
    private readonly bool _padded;

    /// <param name="cell">What runs at each step.</param>
    /// <param name="time">Positions.</param>
    /// <param name="inputs">Values of a position.</param>
    /// <param name="hidden">Values of a state.</param>
    /// <param name="directions">Forward; or forward and backward.</param>
    /// <param name="last">Whether it gives the last states alone.</param>
    /// <param name="padded">Whether a second input has the rows' lengths.</param>
    public RecurrentLayer(RecurrentCell cell, int time, int inputs, int hidden, ImmutableArray<RecurrentParameters> directions, bool last, bool padded)
        : base(last ? [directions.Length * hidden] : [time, directions.Length * hidden])
    {
        (_cell, _time, _inputs, _hidden, _directions, _last, _padded) = (cell, time, inputs, hidden, directions, last, padded);
        Parameters = [.. directions.SelectMany(d => (Parameter?[])[d.Input, d.Recurrent, d.InputBias, d.RecurrentBias]).OfType<Parameter>()];
    }

    /// <inheritdoc/>
    public override ImmutableArray<Parameter> Parameters { get; }

    /// <inheritdoc/>
    public override long Flops => 2L * _time * _directions.Length * Gates * _hidden * (_inputs + _hidden + 2);

    /// <inheritdoc/>
    public override bool BackwardReadsInput => true;

    /// <summary>What forward leaves: each direction's tape.</summary>
    public override Room Kept => new(_directions.Length * TapeWidth);

    /// <summary>
    /// Inputs, outputs' gradients, two states' gradients and inputs' gradients, in time's order; then room for products,
    /// whose size the kernels round up to whole blocks of rows.
    /// </summary>
    public override Room Scratch => new(
        ((1L + _directions.Length) * _time * _inputs) + (_last ? 0 : (long)_time * Width) + (2L * _hidden) + (2L * Gates * _hidden),
        Once: 128L * Gates * _hidden);

    private int Gates => GatesOf(_cell);

    // What the gates' array has for each state; a GRU keeps a product more.
    private int GateWidth => (_cell == RecurrentCell.Gru ? 4 : Gates) * _hidden;

    // Values of one position of the output.
    private int Width => _directions.Length * _hidden;

    // Gates, states, and an LSTM's cells and their tanh, of one row.
    private long TapeWidth => ((long)_time * GateWidth) + ((_time + 1L) * _hidden) + (_cell == RecurrentCell.Lstm ? ((2L * _time) + 1) * _hidden : 0);

    /// <summary>How many values a state's gates have for each of its own.</summary>
    public static int GatesOf(RecurrentCell cell) => cell switch { RecurrentCell.Lstm => 4, RecurrentCell.Gru => 3, _ => 1 };

    /// <inheritdoc/>
    public override IDisposable NewState() => new PackedDirections(Gates, _inputs, _hidden, _directions.Length);

    /// <summary>Runs each direction and brings its states into (rows, time, features).</summary>
    public override void Forward(NodeBuffers node, StepContext step)
    {
        int rows = step.Rows;
        if (rows == 0) return;
        float* x = node.Scratch;
        TimeMajor.From(node.Input(), rows, _time, _inputs, x);
        float* room = x + ((long)rows * _time * _inputs);
        for (int d = 0; d < _directions.Length; d++)
        {
            SequenceShape shape = Shape(rows, d);
            Tape tape = TapeOf(node, rows, d);
            RecurrentWeights weights = Weights(node, step, d);
            weights.Packed!.PackForward(weights);
            long state = (long)rows * _hidden;
            Elementwise.Fill(tape.States + (d == 1 ? _time * state : 0), (nint)state, 0);
            if (_cell == RecurrentCell.Lstm) Elementwise.Fill(tape.Cells + (d == 1 ? _time * state : 0), (nint)state, 0);
            int* lengths = Lengths(node);
            switch (_cell)
            {
                case RecurrentCell.Lstm:
                    Lstm.Forward(in shape, x, _inputs, in weights, lengths, tape.Lstm(room), null, _hidden, step.Pool);
                    break;
                case RecurrentCell.Gru:
                    Gru.Forward(in shape, x, _inputs, in weights, lengths, tape.Gru(room), null, _hidden, step.Pool);
                    break;
                default:
                    Rnn.Forward(in shape, _cell == RecurrentCell.Relu, x, _inputs, in weights, lengths, tape.Rnn(room), null, _hidden, step.Pool);
                    break;
            }

            TakeStates(node, rows, d, tape.States);
        }
    }

    // The state after step t is in slot t + 1 on the way forward, and in slot t on the way back.
    private void TakeStates(NodeBuffers node, int rows, int d, float* states)
    {
        int* lengths = Lengths(node);
        for (long row = 0; row < rows; row++)
        {
            if (_last)
            {
                TimeMajor.Copy(states + (((d == 1 ? 0 : (long)_time * rows) + row) * _hidden), node.Output + (row * Width) + (d * _hidden), _hidden);
                continue;
            }

            float* y = node.Output + (row * _time * Width) + (d * _hidden);
            int length = lengths == null ? _time : lengths[row];
            for (long t = 0; t < length; t++) TimeMajor.Copy(states + ((((t + (d == 1 ? 0 : 1)) * rows) + row) * _hidden), y + (t * Width), _hidden);
            for (long t = length; t < _time; t++) new Span<float>(y + (t * Width), _hidden).Clear();
        }
    }

    private SequenceShape Shape(int rows, int d) => new(_time, rows, _inputs, _hidden, Reverse: d == 1);

    private int* Lengths(NodeBuffers node) => _padded ? (int*)node.Input(1) : null;

    private RecurrentWeights Weights(NodeBuffers node, StepContext step, int d)
    {
        RecurrentParameters p = _directions[d];
        return new RecurrentWeights
        {
            Input = step.Weight(p.Input),
            Recurrent = step.Weight(p.Recurrent),
            InputBias = p.InputBias is null ? null : step.Weight(p.InputBias),
            RecurrentBias = p.RecurrentBias is null ? null : step.Weight(p.RecurrentBias),
            Packed = ((PackedDirections)node.State!).Of(d),
        };
    }

    private Tape TapeOf(NodeBuffers node, int rows, int d)
    {
        float* gates = node.Kept + (d * TapeWidth * rows);
        float* states = gates + ((long)rows * _time * GateWidth);
        float* cells = states + ((long)rows * (_time + 1) * _hidden);
        return new Tape { Gates = gates, States = states, Cells = cells, Tanhs = cells + ((long)rows * (_time + 1) * _hidden) };
    }

    /// <summary>What a direction's forward run leaves for its backward run.</summary>
    private struct Tape
    {
        public float* Gates;
        public float* States;
        public float* Cells;
        public float* Tanhs;

        public readonly LstmTape Lstm(float* room) => new() { Gates = Gates, States = States, Cells = Cells, CellTanhs = Tanhs, Room = room };

        public readonly GruTape Gru(float* room) => new() { Gates = Gates, States = States, Room = room };

        public readonly RnnTape Rnn(float* room) => new() { Gates = Gates, States = States, Room = room };
    }

    /// <summary>A run's packed weights.</summary>
    private sealed class PackedDirections(int gates, int inputs, int hidden, int directions) : IDisposable
    {
        private readonly PackedRecurrent[] _packed = [.. Enumerable.Range(0, directions).Select(_ => new PackedRecurrent(gates, inputs, hidden))];

        public PackedRecurrent Of(int direction) => _packed[direction];

        public void Dispose()
        {
            foreach (PackedRecurrent packed in _packed) packed.Dispose();
        }
    }
}
