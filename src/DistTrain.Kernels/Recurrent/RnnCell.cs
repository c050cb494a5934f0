using System.Runtime.CompilerServices;

namespace DistTrain.Kernels;

/// <summary>One step of a plain recurrent network over a batch: where its arrays are. H is the number of hidden units.</summary>
public unsafe struct RnnStep
{
    /// <summary>How many examples.</summary>
    public nint Rows;

    /// <summary>H.</summary>
    public nint Hidden;

    /// <summary>ReLU where this is set, else tanh.</summary>
    public bool Relu;

    /// <summary>What the forward step reads: one gate.</summary>
    public GateProducts Products;

    /// <summary>(rows, H): the new state after the forward step, the pre-activations' gradients after the backward step.</summary>
    public float* Gates;

    /// <summary>(rows, H): the state before the step; needed only for padding.</summary>
    public float* PreviousState;

    /// <summary>(rows, H): the state after the step.</summary>
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

    /// <summary>(rows): the sequences' lengths; null when none has padding.</summary>
    public int* Lengths;

    /// <summary>Which step this is, from 0: padding from a row's length on.</summary>
    public int Time;
}

/// <summary>
/// The pointwise part of a plain recurrent network (Elman, 1990): h = tanh or ReLU of the pre-activation
/// (<see cref="GateProducts"/>). Backward with
/// d = what later steps say + the output's gradient: d(1 - h·h), the parenthesis fused; or d where h is above zero, else +0.
/// A padded row carries h over; its gradients and output are +0, and its state's gradient passes through.
/// </summary>
public static unsafe class RnnCell
{
    /// <summary>The forward step.</summary>
    public static void Forward(in RnnStep step, KernelPool? pool = null)
    {
        Check(in step);
        step.Products.Check(step.Rows);
        Guard.NotNull(step.State, step.Rows, nameof(step.State));
        RecurrentRows.Run(new Row { Step = step }, step.Rows, step.Hidden, step.Lengths, step.Time, pool);
    }

    /// <summary>The backward step: the pre-activations' gradients take the activations' place.</summary>
    public static void Backward(in RnnStep step, KernelPool? pool = null)
    {
        Check(in step);
        Guard.NotNull(step.StateGradient, step.Rows, nameof(step.StateGradient));
        RecurrentRows.Run(new Row { Step = step, Back = true }, step.Rows, step.Hidden, step.Lengths, step.Time, pool);
    }

    private static void Check(in RnnStep step)
    {
        Guard.Length(step.Rows, nameof(step.Rows));
        Guard.Length(step.Hidden, nameof(step.Hidden));
        Guard.NotNull(step.Gates, step.Rows, nameof(step.Gates));
        if (step.Output != null || step.OutputGradient != null) Guard.Stride(step.StrideOutput, step.Hidden, nameof(step.StrideOutput));
        if (step.Lengths != null) Guard.NotNull(step.PreviousState, step.Rows, nameof(step.PreviousState));
    }

    private struct Row : ICellRow
    {
        public RnnStep Step;
        public bool Back;

        public readonly void Valid<T>(nint row)
            where T : struct, ILanes<T>
        {
            nint h = Step.Hidden;
            if (Back)
            {
                var formula = new BackwardFormula
                {
                    Relu = Step.Relu,
                    Gates = Step.Gates + (row * h),
                    OutputGradient = Step.OutputGradient == null ? null : Step.OutputGradient + (row * Step.StrideOutput),
                    StateGradient = Step.StateGradient + (row * h),
                };
                BlockTraversal.Run<T, BackwardFormula>(formula, 0, h);
            }
            else
            {
                GateProducts products = Step.Products.Row(row, h);
                float* gates = Step.Gates + (row * h);
                if (Step.Relu) BlockTraversal.Run<T, GateFormula<ReluOperator>>(new(products, gates), 0, h);
                else BlockTraversal.Run<T, GateFormula<TanhOperator>>(new(products, gates), 0, h);
                Rows.Copy(gates, Step.State + (row * h), h);
                if (Step.Output != null) Rows.Copy(gates, Step.Output + (row * Step.StrideOutput), h);
            }
        }

        public readonly void Padding<T>(nint row)
            where T : struct, ILanes<T>
        {
            nint h = Step.Hidden;
            Rows.Clear(Step.Gates + (row * h), h);
            if (Back) return;
            Rows.Copy(Step.PreviousState + (row * h), Step.State + (row * h), h);
            if (Step.Output != null) Rows.Clear(Step.Output + (row * Step.StrideOutput), h);
        }
    }

    private struct BackwardFormula : IBlockFormula
    {
        public bool Relu;
        public float* Gates;
        public float* OutputGradient;
        public float* StateGradient;

        [MethodImpl(MethodImplOptions.NoInlining)]
        public readonly void Apply<TVector, TBlock>(TBlock block, nint at)
            where TVector : struct, IArithmetic<TVector>
            where TBlock : struct, IBlock<TVector>
        {
            TVector h = block.Load(Gates + at);
            TVector d = block.Load(StateGradient + at);
            if (OutputGradient != null) d += block.Load(OutputGradient + at);
            block.Store(Gates + at, Relu ? default(ReluGradientOperator).Apply(d, h) : default(TanhGradientOperator).Apply(d, h));
            block.Store(StateGradient + at, TVector.Zero);
        }
    }
}
