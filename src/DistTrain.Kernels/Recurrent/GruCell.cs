using System.Runtime.CompilerServices;

namespace DistTrain.Kernels;

/// <summary>One step of a GRU over a batch: where its arrays are. H is the number of hidden units.</summary>
public unsafe struct GruStep
{
    /// <summary>How many examples.</summary>
    public nint Rows;

    /// <summary>H.</summary>
    public nint Hidden;

    /// <summary>
    /// (rows, 4H). Going into the forward step, in its first 3H columns, the products with the input, gates in the order
    /// r, z, n; after it r, z, n and the hidden product of n. After the backward step the gradients of the input's three
    /// products, and of n's hidden product (r and z have the same gradient on both sides).
    /// </summary>
    public float* Gates;

    /// <summary>(rows, 3H): the products with the previous state, biases included; the forward step reads them.</summary>
    public float* HiddenProducts;

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
/// and one back. Forward, per element, x and u the products with input and state: r = sigmoid(xr + ur);
/// z = sigmoid(xz + uz); n = tanh(fma(r, un, xn)); h = fma(z, h' - n, n).
/// Backward with d = what later steps say + the output's gradient: dn = (d(1-z))(1 - n·n), the last parenthesis fused;
/// dun = dn·r; dr = (dn·un)(r(1-r)); dz = (d(h'-n))(z(1-z)); and d·z goes to the step before.
/// A padded row carries h over; its gates' gradients and output are +0, and its gradient passes through.
/// </summary>
public static unsafe class GruCell
{
    /// <summary>The forward step.</summary>
    public static void Forward(in GruStep step, KernelPool? pool = null)
    {
        Check(in step);
        Guard.NotNull(step.HiddenProducts, step.Rows, nameof(step.HiddenProducts));
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
            var formula = new ForwardFormula
            {
                Hidden = h,
                Gates = Step.Gates + (row * 4 * h),
                Products = Step.HiddenProducts + (row * 3 * h),
                PreviousState = Step.PreviousState + (row * h),
                State = Step.State + (row * h),
                Output = Step.Output == null ? null : Step.Output + (row * Step.StrideOutput),
            };
            BlockTraversal.Run<T, ForwardFormula>(formula, 0, h);
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

    private struct ForwardFormula : IBlockFormula
    {
        public nint Hidden;
        public float* Gates;
        public float* Products;
        public float* PreviousState;
        public float* State;
        public float* Output;

        [MethodImpl(MethodImplOptions.NoInlining)]
        public readonly void Apply<TVector, TBlock>(TBlock block, nint at)
            where TVector : struct, IArithmetic<TVector>
            where TBlock : struct, IBlock<TVector>
        {
            float* gate = Gates + at;
            float* product = Products + at;
            TVector r = LaneMath.Sigmoid(block.Load(gate) + block.Load(product));
            block.Store(gate, r);
            gate += Hidden;
            product += Hidden;
            TVector z = LaneMath.Sigmoid(block.Load(gate) + block.Load(product));
            block.Store(gate, z);
            gate += Hidden;
            product += Hidden;
            TVector un = block.Load(product);
            TVector n = LaneMath.Tanh(TVector.Fma(r, un, block.Load(gate)));
            block.Store(gate, n);
            block.Store(gate + Hidden, un);
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
