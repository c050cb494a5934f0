namespace DistTrain.Nn;

/// <summary>Where one node's values and gradients lie: row-major (rows, width), planned once for a run.</summary>
internal sealed unsafe class NodeBuffers
{
    private readonly float*[] _inputs;
    private readonly float*[] _inputGradients;
    private readonly float*[] _sums;

    public NodeBuffers(float*[] inputs, float*[] inputGradients, float*[] sums, float* output, float* outputGradient, float* kept, float* scratch)
    {
        _inputs = inputs;
        _inputGradients = inputGradients;
        _sums = sums;
        Output = output;
        OutputGradient = outputGradient;
        Kept = kept;
        Scratch = scratch;
    }

    /// <summary>How many values the node reads.</summary>
    public int InputCount => _inputs.Length;

    /// <summary>What forward leaves for backward, as long as the layer asked for.</summary>
    public float* Kept { get; }

    /// <summary>Room to work in during one pass; other layers' passes use it too.</summary>
    public float* Scratch { get; }

    /// <summary>What the layer asked for with <see cref="Layer.NewState"/>.</summary>
    public IDisposable? State { get; init; }

    /// <summary>The buffers of <see cref="Layer.Partner"/>.</summary>
    public NodeBuffers? Partner { get; set; }

    /// <summary>The output's values; backward finds them as forward left them, if the layer reads them there.</summary>
    public float* Output { get; }

    /// <summary>The loss's gradient at the output; null when nothing before it is trained.</summary>
    public float* OutputGradient { get; }

    /// <summary>The values of input <paramref name="i"/>.</summary>
    public float* Input(int i = 0) => _inputs[i];

    /// <summary>Where backward writes the gradient at input <paramref name="i"/>; null when nobody wants it.</summary>
    public float* InputGradient(int i = 0) => _inputGradients[i];

    /// <summary>
    /// What the gradient at input <paramref name="i"/> is added to after this node's backward, because a later node reads
    /// that value too and has written its own there; null when there is none.
    /// </summary>
    public float* Sum(int i) => _sums[i];
}
