using System.Runtime.CompilerServices;

namespace DistTrain.Kernels;

/// <summary>One step of a GRU over a batch: where its arrays are. H is the number of hidden units.</summary>
public unsafe struct GruStep
{
    /// <summary>How many examples.</summary>
    public nint Rows;

    /// <summary>H.</summary>
    public nint Hidden;

    /// <summary>What the forward step reads: three gates in the order r, z, n.</summary>
    public GateProducts Products;

    /// <summary>
    /// (rows, 4H): after the forward step r, z, n and n's product with the state, its bias included; after the backward
    /// step the gradients of the three products with the input, and of n's with the state (r and z have the same gradient
    /// on both sides).
    /// </summary>
    public float* Gates;

    /// <summary>(rows, H): the state before the step.</summary>
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
    /// recurrent products.
    /// </summary>
    public float* StateGradient;

    /// <summary>(rows): the sequences' lengths; null when none has padding.</summary>
    public int* Lengths;

    /// <summary>Which step this is, from 0: padding from a row's length on.</summary>
    public int Time;
}

/// <summary>
/// The pointwise part of a GRU (Cho et al., 2014, in PyTorch's form, n's hidden bias inside the reset), one pass forward
/// and one back. Forward, per element: r, z = sigmoid of the pre-activations (<see cref="GateProducts"/>); with x and u
/// n's products with input and state, each plus its bias, n = tanh(fma(r, u, x)); h = fma(z, h' - n, n).
/// Backward with d = what later steps say + the output's gradient: dn = (d(1-z))(1 - n·n), the last parenthesis fused;
/// du = dn·r; dr = (dn·u)(r(1-r)); dz = (d(h'-n))(z(1-z)); and d·z goes to the step before.
/// A padded row carries h over; its gates' gradients and output are +0, and its gradient passes through.
/// </summary>
public static unsafe class GruCell
{
    /// <summary>The forward step.</summary>
    public static void Forward(in GruStep step, KernelPool? pool = null)
    {
        Check(in step);
        step.Products.Check(step.Rows);
        Guard.NotNull(step.State, step.Rows, nameof(step.State));
        RecurrentRows.Run(new ForwardRow { Step = step }, step.Rows, step.Hidden, step.Lengths, step.Time, pool);
    }

    /// <summary>The backward step: the gates' gradients take the activations' place.</summary>
    public static void Backward(in GruStep step, KernelPool? pool = null)
    {
        Check(in step);
        Guard.NotNull(step.StateGradient, step.Rows, nameof(step.StateGradient));
        RecurrentRows.Run(new BackwardRow { Step = step }, step.Rows, step.Hidden, step.Lengths, step.Time, pool);
    }

    private static void Check(in GruStep step)
    {
        Guard.Length(step.Rows, nameof(step.Rows));
        Guard.Length(step.Hidden, nameof(step.Hidden));
        Guard.NotNull(step.Gates, step.Rows, nameof(step.Gates));
        Guard.NotNull(step.PreviousState, step.Rows, nameof(step.PreviousState));
        if (step.Output != null || step.OutputGradient != null) Guard.Stride(step.StrideOutput, step.Hidden, nameof(step.StrideOutput));
    }

    private struct ForwardRow : ICellRow
    {
        public GruStep Step;

        public readonly void Valid<T>(nint row)
            where T : struct, ILanes<T>
        {
            nint h = Step.Hidden;
            GateProducts products = Step.Products.Row(row, 3 * h);
            float* gates = Step.Gates + (row * 4 * h);
            BlockTraversal.Run<T, GateFormula<SigmoidOperator>>(new(products, gates), 0, 2 * h);
            var formula = new StateFormula
            {
                Hidden = h,
                Products = products,
                Gates = gates,
                PreviousState = Step.PreviousState + (row * h),
                State = Step.State + (row * h),
                Output = Step.Output == null ? null : Step.Output + (row * Step.StrideOutput),
            };
            BlockTraversal.Run<T, StateFormula>(formula, 0, h);
        }

        public readonly void Padding<T>(nint row)
            where T : struct, ILanes<T>
        {
            nint h = Step.Hidden;
            Rows.Clear(Step.Gates + (row * 4 * h), 4 * h);
            Rows.Copy(Step.PreviousState + (row * h), Step.State + (row * h), h);
            if (Step.Output != null) Rows.Clear(Step.Output + (row * Step.StrideOutput), h);
        }
    }

    private struct StateFormula : IBlockFormula
    {
        public nint Hidden;
        public float* Gates;
        public GateProducts Products;
        public float* PreviousState;
        public float* State;
        public float* Output;

        [MethodImpl(MethodImplOptions.NoInlining)]
        public readonly void Apply<TVector, TBlock>(TBlock block, nint at)
            where TVector : struct, IArithmetic<TVector>
            where TBlock : struct, IBlock<TVector>
        {
            nint gate = at + (2 * Hidden);
            TVector u = Products.OfState<TVector, TBlock>(block, gate);
            TVector n = LaneMath.Tanh(TVector.Fma(block.Load(Gates + at), u, Products.OfInput<TVector, TBlock>(block, gate)));
            block.Store(Gates + gate, n);
            block.Store(Gates + gate + Hidden, u);
            TVector z = block.Load(Gates + at + Hidden);
            TVector h = TVector.Fma(z, block.Load(PreviousState + at) - n, n);
            block.Store(State + at, h);
            if (Output != null) block.Store(Output + at, h);
        }
    }

    private struct BackwardRow : ICellRow
    {
        public GruStep Step;

        public readonly void Valid<T>(nint row)
            where T : struct, ILanes<T>
        {
            nint h = Step.Hidden;
            var formula = new BackwardFormula
            {
                Hidden = h,
                Gates = Step.Gates + (row * 4 * h),
                PreviousState = Step.PreviousState + (row * h),
                OutputGradient = Step.OutputGradient == null ? null : Step.OutputGradient + (row * Step.StrideOutput),
                StateGradient = Step.StateGradient + (row * h),
            };
            BlockTraversal.Run<T, BackwardFormula>(formula, 0, h);
        }

        // The state's gradient stays as it is.
        public readonly void Padding<T>(nint row)
            where T : struct, ILanes<T> => Rows.Clear(Step.Gates + (row * 4 * Step.Hidden), 4 * Step.Hidden);
    }

    private struct BackwardFormula : IBlockFormula
    {
        public nint Hidden;
        public float* Gates;
        public float* PreviousState;
        public float* OutputGradient;
        public float* StateGradient;

        [MethodImpl(MethodImplOptions.NoInlining)]
        public readonly void Apply<TVector, TBlock>(TBlock block, nint at)
            where TVector : struct, IArithmetic<TVector>
            where TBlock : struct, IBlock<TVector>
        {
            float* gateR = Gates + at;
            float* gateZ = gateR + Hidden;
            float* gateN = gateZ + Hidden;
            float* gateU = gateN + Hidden;
            TVector one = TVector.Broadcast(1f);
            TVector r = block.Load(gateR);
            TVector z = block.Load(gateZ);
            TVector n = block.Load(gateN);
            TVector d = block.Load(StateGradient + at);
            if (OutputGradient != null) d += block.Load(OutputGradient + at);
            TVector dn = d * (one - z) * TVector.Fma(TVector.Zero - n, n, one);
            block.Store(gateR, dn * block.Load(gateU) * (r * (one - r)));
            block.Store(gateZ, d * (block.Load(PreviousState + at) - n) * (z * (one - z)));
            block.Store(gateN, dn);
            block.Store(gateU, dn * r);
            block.Store(StateGradient + at, d * z);
        }
    }
}
