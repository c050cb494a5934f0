using DistTrain.Core.Layout;
using DistTrain.Kernels;

namespace DistTrain.Nn;

/// <summary>
/// Dynamic loss scaling for fp16 (P. Micikevicius et al. 2018, "Mixed Precision Training"): the loss's gradient is
/// multiplied by a power of two, so that small gradients don't vanish. A step whose gradient overflows changes nothing but the scale, which
/// halves; after <see cref="GrowthInterval"/> good steps in a row it doubles.
/// </summary>
/// <remarks>
/// Its state is a buffer of the layout, [exponent, good steps]: so it travels with the weights, stands in checkpoints,
/// and is the same for any cluster. Both numbers are exact in fp16.
/// </remarks>
public sealed class LossScale
{
    /// <summary>The name of the buffer.</summary>
    public const string TensorName = "loss_scale";

    /// <summary>Good steps after which the scale doubles.</summary>
    public const int GrowthInterval = 2000;

    // A sum of gradients over a shard is some hundred times their mean, with which others begin at 2^16.
    private const int FirstExponent = 10;
    private const int LeastExponent = -14;
    private const int MostExponent = 24;

    private readonly Parameter _state;
    private readonly long _offset;

    internal LossScale(Parameter state, ParameterLayout layout) => (_state, _offset) = (state, layout.Tensors[state.Index].Offset);

    /// <summary>The buffer's place in the layout.</summary>
    public int Tensor => _state.Index;

    /// <summary>Moves the state (2 values: exponent, good steps) on by a step.</summary>
    /// <param name="state">Updated.</param>
    /// <param name="overflow">Whether the step's gradient held an infinity or NaN.</param>
    public static void Advance(Span<float> state, bool overflow)
    {
        if (overflow)
        {
            (state[0], state[1]) = (Math.Max(state[0] - 1, LeastExponent), 0);
        }
        else if (++state[1] >= GrowthInterval)
        {
            (state[0], state[1]) = (Math.Min(state[0] + 1, MostExponent), 0);
        }
    }

    internal static Parameter Declare(int index) =>
        new(index, TensorName, [2], new FirstState(), 1, 1, TensorRole.Buffer);

    /// <summary>What the loss's gradient is multiplied by under these weights.</summary>
    internal unsafe float Factor(float* weights)
    {
        int exponent = Math.Clamp((int)weights[_offset], LeastExponent, MostExponent);
        return BitConverter.Int32BitsToSingle((exponent + 127) << 23);
    }

    /// <summary>Its own "gradient" is nothing.</summary>
    internal unsafe void LeaveAlone(StepContext step)
    {
        for (int node = 0; node < step.Plan!.NodeCount; node++) new Span<float>(step.Gradient(_state, node), 2).Clear();
        step.Finished(_state);
    }

    private sealed record FirstState : Initialiser
    {
        public override string Kind => TensorName;

        private protected override unsafe void Fill(KeyedRandom random, Parameter parameter, ulong first, float* x, int length)
        {
            for (int i = 0; i < length; i++) x[i] = first + (ulong)i == 0 ? FirstExponent : 0;
        }
    }
}
