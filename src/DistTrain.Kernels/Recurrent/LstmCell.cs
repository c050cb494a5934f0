using System.Runtime.CompilerServices;

namespace DistTrain.Kernels;

/// <summary>One step of an LSTM over a batch: where its arrays are. H is the number of hidden units.</summary>
public unsafe struct LstmStep
{
    /// <summary>How many examples.</summary>
    public nint Rows;

    /// <summary>H.</summary>
    public nint Hidden;

    /// <summary>What the forward step reads: four gates in the order i, f, g, o.</summary>
    public GateProducts Products;

    /// <summary>
    /// (rows, 4H), i, f, g, o: the activations after the forward step, their pre-activations' gradients after the
    /// backward step.
    /// </summary>
    public float* Gates;

    /// <summary>(rows, H): the cell state before the step.</summary>
    public float* PreviousCell;

    /// <summary>(rows, H): the hidden state before the step; needed only for padding.</summary>
    public float* PreviousState;

    /// <summary>(rows, H): the cell state after the step.</summary>
    public float* Cell;

    /// <summary>(rows, H): tanh of <see cref="Cell"/>, which backward needs.</summary>
    public float* CellTanh;

    /// <summary>(rows, H): the hidden state after the step.</summary>
    public float* State;

    /// <summary>(rows, H), rows of <see cref="StrideOutput"/> floats: a copy of the state, +0 where there is padding; may be null.</summary>
    public float* Output;

    /// <summary>Floats from one row of the output, or of its gradient, to the next.</summary>
    public nint StrideOutput;

    /// <summary>(rows, H), rows of <see cref="StrideOutput"/> floats: the gradient of the output; may be null.</summary>
    public float* OutputGradient;

    /// <summary>
    /// (rows, H): going in, what later steps add to the state's gradient; going out, what the step before gets beside the
    /// recurrent product: +0, or for padding what came in.
    /// </summary>
    public float* StateGradient;

    /// <summary>(rows, H): the cell state's gradient, of the state after the step going in, before it going out.</summary>
    public float* CellGradient;

    /// <summary>(rows): the sequences' lengths; null when none has padding.</summary>
    public int* Lengths;

    /// <summary>Which step this is, from 0: padding from a row's length on.</summary>
    public int Time;
}

/// <summary>
/// The pointwise part of an LSTM (Hochreiter and Schmidhuber, 1997; gates as in PyTorch), one pass forward and one back.
/// Forward, per element: i, f, o = sigmoid, g = tanh of the pre-activations (<see cref="GateProducts"/>); c = fma(f, c', i·g); t = tanh c; h = o·t.
/// Backward with d = what later steps say + the output's gradient: e = fma(d·o, 1 - t·t, dc), the parenthesis fused;
/// di = (e·g)(i(1-i)); df = (e·c')(f(1-f)); dg = (e·i)(1 - g·g); do = (d·t)(o(1-o)); dc' = e·f.
/// A padded row carries c and h over; its gates, gates' gradients and output are +0, and its gradients pass through.
/// </summary>
public static unsafe class LstmCell
{
    /// <summary>The forward step.</summary>
    public static void Forward(in LstmStep step, KernelPool? pool = null)
    {
        Check(in step);
        step.Products.Check(step.Rows);
        Guard.NotNull(step.State, step.Rows, nameof(step.State));
        RecurrentRows.Run(new ForwardRow { Step = step }, step.Rows, step.Hidden, step.Lengths, step.Time, pool);
    }

    /// <summary>The backward step: the gates' gradients take the activations' place.</summary>
    public static void Backward(in LstmStep step, KernelPool? pool = null)
    {
        Check(in step);
        Guard.NotNull(step.StateGradient, step.Rows, nameof(step.StateGradient));
        Guard.NotNull(step.CellGradient, step.Rows, nameof(step.CellGradient));
        RecurrentRows.Run(new BackwardRow { Step = step }, step.Rows, step.Hidden, step.Lengths, step.Time, pool);
    }

    private static void Check(in LstmStep step)
    {
        Guard.Length(step.Rows, nameof(step.Rows));
        Guard.Length(step.Hidden, nameof(step.Hidden));
        Guard.NotNull(step.Gates, step.Rows, nameof(step.Gates));
        Guard.NotNull(step.PreviousCell, step.Rows, nameof(step.PreviousCell));
        Guard.NotNull(step.Cell, step.Rows, nameof(step.Cell));
        Guard.NotNull(step.CellTanh, step.Rows, nameof(step.CellTanh));
        if (step.Output != null || step.OutputGradient != null) Guard.Stride(step.StrideOutput, step.Hidden, nameof(step.StrideOutput));
        if (step.Lengths != null) Guard.NotNull(step.PreviousState, step.Rows, nameof(step.PreviousState));
    }

    private struct ForwardRow : ICellRow
    {
        public LstmStep Step;

        public readonly void Valid<T>(nint row)
            where T : struct, ILanes<T>
        {
            nint h = Step.Hidden;
            GateProducts products = Step.Products.Row(row, 4 * h);
            float* gates = Step.Gates + (row * 4 * h);
            var sigmoid = new GateFormula<SigmoidOperator>(products, gates);
            BlockTraversal.Run<T, GateFormula<SigmoidOperator>>(sigmoid, 0, 2 * h);
            BlockTraversal.Run<T, GateFormula<TanhOperator>>(new(products, gates), 2 * h, 3 * h);
            BlockTraversal.Run<T, GateFormula<SigmoidOperator>>(sigmoid, 3 * h, 4 * h);
            var formula = new StateFormula
            {
                Hidden = h,
                Gates = gates,
                PreviousCell = Step.PreviousCell + (row * h),
                Cell = Step.Cell + (row * h),
                CellTanh = Step.CellTanh + (row * h),
                State = Step.State + (row * h),
                Output = Step.Output == null ? null : Step.Output + (row * Step.StrideOutput),
            };
            BlockTraversal.Run<T, StateFormula>(formula, 0, h);
        }

        public readonly void Padding<T>(nint row)
            where T : struct, ILanes<T>
        {
            nint h = Step.Hidden;
            nint at = row * h;
            Rows.Clear(Step.Gates + (4 * at), 4 * h);
            Rows.Copy(Step.PreviousCell + at, Step.Cell + at, h);
            Rows.Clear(Step.CellTanh + at, h);
            Rows.Copy(Step.PreviousState + at, Step.State + at, h);
            if (Step.Output != null) Rows.Clear(Step.Output + (row * Step.StrideOutput), h);
        }
    }

    private struct StateFormula : IBlockFormula
    {
        public nint Hidden;
        public float* Gates;
        public float* PreviousCell;
        public float* Cell;
        public float* CellTanh;
        public float* State;
        public float* Output;

        [MethodImpl(MethodImplOptions.NoInlining)]
        public readonly void Apply<TVector, TBlock>(TBlock block, nint at)
            where TVector : struct, IArithmetic<TVector>
            where TBlock : struct, IBlock<TVector>
        {
            float* gate = Gates + at;
            TVector products = block.Load(gate) * block.Load(gate + (2 * Hidden));
            TVector c = TVector.Fma(block.Load(gate + Hidden), block.Load(PreviousCell + at), products);
            block.Store(Cell + at, c);
            TVector t = LaneMath.Tanh(c);
            block.Store(CellTanh + at, t);
            TVector h = block.Load(gate + (3 * Hidden)) * t;
            block.Store(State + at, h);
            if (Output != null) block.Store(Output + at, h);
        }
    }

    private struct BackwardRow : ICellRow
    {
        public LstmStep Step;

        public readonly void Valid<T>(nint row)
            where T : struct, ILanes<T>
        {
            nint h = Step.Hidden;
            var formula = new BackwardFormula
            {
                Hidden = h,
                Gates = Step.Gates + (row * 4 * h),
                PreviousCell = Step.PreviousCell + (row * h),
                CellTanh = Step.CellTanh + (row * h),
                OutputGradient = Step.OutputGradient == null ? null : Step.OutputGradient + (row * Step.StrideOutput),
                StateGradient = Step.StateGradient + (row * h),
                CellGradient = Step.CellGradient + (row * h),
            };
            BlockTraversal.Run<T, BackwardFormula>(formula, 0, h);
        }

        // Both states' gradients stay as they are.
        public readonly void Padding<T>(nint row)
            where T : struct, ILanes<T> => Rows.Clear(Step.Gates + (row * 4 * Step.Hidden), 4 * Step.Hidden);
    }

    private struct BackwardFormula : IBlockFormula
    {
        public nint Hidden;
        public float* Gates;
        public float* PreviousCell;
        public float* CellTanh;
        public float* OutputGradient;
        public float* StateGradient;
        public float* CellGradient;

        [MethodImpl(MethodImplOptions.NoInlining)]
        public readonly void Apply<TVector, TBlock>(TBlock block, nint at)
            where TVector : struct, IArithmetic<TVector>
            where TBlock : struct, IBlock<TVector>
        {
            float* gateI = Gates + at;
            float* gateF = gateI + Hidden;
            float* gateG = gateF + Hidden;
            float* gateO = gateG + Hidden;
            TVector one = TVector.Broadcast(1f);
            TVector i = block.Load(gateI);
            TVector f = block.Load(gateF);
            TVector g = block.Load(gateG);
            TVector o = block.Load(gateO);
            TVector t = block.Load(CellTanh + at);
            TVector d = block.Load(StateGradient + at);
            if (OutputGradient != null) d += block.Load(OutputGradient + at);
            TVector e = TVector.Fma(d * o, TVector.Fma(TVector.Zero - t, t, one), block.Load(CellGradient + at));
            block.Store(gateO, d * t * (o * (one - o)));
            block.Store(gateI, e * g * (i * (one - i)));
            block.Store(gateF, e * block.Load(PreviousCell + at) * (f * (one - f)));
            block.Store(gateG, e * i * TVector.Fma(TVector.Zero - g, g, one));
            block.Store(CellGradient + at, e * f);
            block.Store(StateGradient + at, TVector.Zero);
        }
    }
}
