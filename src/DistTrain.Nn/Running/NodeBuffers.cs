namespace DistTrain.Nn;

/// <summary>Where one node's values and gradients lie: row-major (rows, width), planned once for a run.</summary>
internal sealed unsafe class NodeBuffers
{
    private readonly float*[] _inputs;
    private readonly float*[] _inputGradients;

    public NodeBuffers(float*[] inputs, float*[] inputGradients, float* output, float* outputGradient)
    {
        _inputs = inputs;
        _inputGradients = inputGradients;
        Output = output;
        OutputGradient = outputGradient;
    }

    /// <summary>The output's values; backward finds them as forward left them, if the layer reads them there.</summary>
    public float* Output { get; }

    /// <summary>The loss's gradient at the output; null when nothing before it is trained.</summary>
    public float* OutputGradient { get; }

    /// <summary>The values of input <paramref name="i"/>.</summary>
    public float* Input(int i = 0) => _inputs[i];

    /// <summary>Where backward writes the gradient at input <paramref name="i"/>; null when nobody wants it.</summary>
    public float* InputGradient(int i = 0) => _inputGradients[i];
}
