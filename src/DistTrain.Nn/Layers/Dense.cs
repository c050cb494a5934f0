using System.Collections.Immutable;
using DistTrain.Core.Config;
using DistTrain.Core.Layout;
using DistTrain.Kernels;

namespace DistTrain.Nn;

/// <summary>
/// A fully connected layer: y = x·Wᵀ + b, with W [out, in] and b [out] as PyTorch's Linear. [in] becomes [out]; sequences
/// [time, in] become [time, out], position by position.
/// </summary>
/// <param name="Out">Values of one example's output.</param>
/// <param name="Bias">Whether b is there.</param>
/// <param name="Init">
/// W's first values; null for He normal when a relu follows directly, else Glorot uniform.
/// </param>
/// <param name="BiasInit">b's first values; null for 0.</param>
public sealed record DenseSpec(int Out, bool Bias = true, Initialiser? Init = null, Initialiser? BiasInit = null) : LayerSpec
{
    internal const string Name = "dense";

    /// <inheritdoc/>
    public override string Kind => Name;

    internal static DenseSpec Read(NamedChoice choice)
    {
        ConfigNode options = choice.Options;
        if (choice.HasMainValue) return new DenseSpec((int)options.AsInteger(1, int.MaxValue));
        var spec = new DenseSpec(
            (int)options.Require("out").AsInteger(1, int.MaxValue),
            options.Flag("bias", true),
            options.Find("init") is { } init ? Initialiser.FromConfig(init) : null,
            options.Find("bias_init") is { } biasInit ? Initialiser.FromConfig(biasInit) : null);
        choice.RefuseUnknown();
        return spec;
    }

    internal override Layer Compile(LayerBuilder builder)
    {
        if (Out < 1) throw builder.Refuse("at least one output", $"'out' is {Out}");
        if (builder.Input is not ([.., int inputs] and ([_] or [_, _]))) throw builder.Refuse("one row of values per example, [n], or sequences, [time, n]", "put 'flatten' before it");
        Initialiser init = Init ?? (builder.Next is ReluSpec ? Initialisers.HeNormal : Initialisers.GlorotUniform);
        Parameter weight = builder.Declare("weight", [Out, inputs], init, inputs, Out);
        Parameter? bias = Bias ? builder.Declare("bias", [Out], BiasInit ?? Initialisers.Zeros, inputs, Out, TensorRole.Undecayed) : null;
        return new DenseLayer(weight, bias, Activation.Identity, builder.Input is [int time, _] ? time : null);
    }
}

/// <summary>
/// A dense layer, and the activation behind it, which runs at the end of its GEMM. The way back through that activation
/// runs at the end of the next dense layer's GEMM, if one follows.
/// </summary>
internal sealed unsafe class DenseLayer : Layer
{
    private readonly Parameter _weight;
    private readonly Parameter? _bias;
    private readonly int? _time;
    private readonly int _positions;
    private readonly int _inputs;
    private readonly int _outputs;

    /// <param name="weight">[out, in].</param>
    /// <param name="bias">[out]; null for none.</param>
    /// <param name="activation">What runs at the end of the forward GEMM.</param>
    /// <param name="time">Positions of a row, for sequences; null for one row of values per example.</param>
    public DenseLayer(Parameter weight, Parameter? bias, Activation activation, int? time = null)
        : base(time is { } t ? [t, weight.Shape[0]] : [weight.Shape[0]])
    {
        _weight = weight;
        _bias = bias;
        _time = time;
        _positions = time ?? 1;
        Activation = activation;
        _outputs = weight.Shape[0];
        _inputs = weight.Shape[1];
        Parameters = bias is null ? [weight] : [weight, bias];
    }

    /// <inheritdoc/>
    public override ImmutableArray<Parameter> Parameters { get; }

    /// <inheritdoc/>
    public override long Flops => _positions * ((2L * _inputs * _outputs) + (_bias is null ? 0 : _outputs));

    /// <inheritdoc/>
    public override bool BackwardReadsInput => true;

    /// <inheritdoc/>
    public override bool BackwardReadsOutput => GoesBackThroughOwn;

    /// <summary>What runs at the end of the forward GEMM.</summary>
    private Activation Activation { get; }

    /// <summary>What gave this layer its input, where this layer goes back through it.</summary>
    private Activation InputActivation { get; init; } = Activation.Identity;

    /// <summary>Whether the next layer goes back through <see cref="Activation"/>.</summary>
    private bool HandedOver { get; init; }

    private bool GoesBackThroughOwn => Activation != Activation.Identity && !HandedOver;

    /// <inheritdoc/>
    public override Layer? Fuse(Layer next) =>
        next is ActivationLayer activation && Activation == Activation.Identity
            ? new DenseLayer(_weight, _bias, activation.Activation, _time) { InputActivation = InputActivation }
            : null;

    /// <inheritdoc/>
    public override (Layer Self, Layer Next)? HandOver(Layer next) =>
        next is DenseLayer dense && GoesBackThroughOwn
            ? (new DenseLayer(_weight, _bias, Activation, _time) { InputActivation = InputActivation, HandedOver = true },
                new DenseLayer(dense._weight, dense._bias, dense.Activation, dense._time) { InputActivation = Activation })
            : null;

    /// <summary>y (rows, out) = activation(x (rows, in) · Wᵀ + b).</summary>
    public override void Forward(NodeBuffers node, StepContext step)
    {
        var epilogue = new GemmEpilogue(_bias is null ? null : step.Weight(_bias), Activation);
        Gemm.Multiply(
            MatrixForm.Normal, MatrixForm.Transposed, Rows(step), _outputs, _inputs,
            1, node.Input(), _inputs, step.Weight(_weight), _inputs, 0, node.Output, _outputs, epilogue, step.Pool);
    }

    /// <summary>
    /// Through the activation, in place; then dW and db, which others wait for; then dx (rows, in) = dy · W, back
    /// through the activation before.
    /// </summary>
    public override void Backward(NodeBuffers node, StepContext step)
    {
        float* dy = node.OutputGradient;
        if (GoesBackThroughOwn)
        {
            Elementwise.ActivateBackward(Activation, dy, node.Output, dy, Rows(step) * _outputs, step.Pool);
        }

        GradientPlan plan = step.Plan!;
        bool packed = step.TryPackMatrixGradient(_weight, dy, _outputs, node.Input(), _inputs, _positions);
        for (int j = 0; j < plan.NodeCount; j++)
        {
            if (packed)
            {
                if (_bias is not null) SegmentedGemm.ColumnSum(dy, _outputs, _outputs, plan.RangesOf(j, _positions), plan.LeafStartsOf(j), step.Gradient(_bias, j), step.Pool);
                continue;
            }

            SegmentedGemm.WeightGradient(
                dy, _outputs, node.Input(), _inputs, _outputs, _inputs,
                plan.RangesOf(j, _positions), plan.LeafStartsOf(j), step.Gradient(_weight, j), _inputs, step.Pool,
                _bias is null ? null : step.Gradient(_bias, j));
        }

        if (_bias is not null) step.Finished(_bias);
        if (!packed) step.Finished(_weight);
        if (node.InputGradient() == null) return;
        GemmEpilogue epilogue = InputActivation == Activation.Identity ? default : GemmEpilogue.Backward(InputActivation, node.Input(), _inputs);
        Gemm.Multiply(
            MatrixForm.Normal, MatrixForm.Normal, Rows(step), _inputs, _outputs,
            1, dy, _outputs, step.Weight(_weight), _inputs, 0, node.InputGradient(), _inputs, epilogue, step.Pool);
    }

    private nint Rows(StepContext step) => (nint)step.Rows * _positions;
}
