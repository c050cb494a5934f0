using System.Numerics;
using DistTrain.Kernels;

namespace DistTrain.Nn;

/// <summary>
/// Rotary positions (Su et al., 2021, 'RoFormer'): in each head of q and k the pair (x_i, x_(i + width/2)) at position t is
/// turned by the angle t·10000^(−2i / width): a' = a·cos − b·sin, b' = b·cos + a·sin, each product rounded and then their
/// sum. Values pass as they are. (rows, time, 3, heads, width) in and out.
/// </summary>
internal sealed unsafe class RotaryLayer : Layer
{
    private readonly int _time;
    private readonly int _heads;
    private readonly int _width;

    // (time, width / 2) each.
    private readonly float[] _cosines;
    private readonly float[] _sines;

    public RotaryLayer(int time, int heads, int width)
        : base([time, 3 * heads * width])
    {
        (_time, _heads, _width) = (time, heads, width);
        int half = width / 2;
        _cosines = new float[time * half];
        _sines = new float[time * half];
        for (int i = 0; i < half; i++)
        {
            double frequency = 1 / ScalarMath.Pow(10_000, 2 * i / (double)width);
            for (int t = 0; t < time; t++)
            {
                _cosines[(t * half) + i] = (float)ScalarMath.Cos(t * frequency);
                _sines[(t * half) + i] = (float)ScalarMath.Sin(t * frequency);
            }
        }
    }

    /// <inheritdoc/>
    public override long Flops => 6L * _time * _heads * _width;

    /// <inheritdoc/>
    public override void Forward(NodeBuffers node, StepContext step) => Turn(node.Input(), node.Output, step.Rows, back: false);

    /// <summary>Turns back, which is a turn's transpose.</summary>
    public override void Backward(NodeBuffers node, StepContext step)
    {
        if (node.InputGradient() != null) Turn(node.OutputGradient, node.InputGradient(), step.Rows, back: true);
    }

    private void Turn(float* from, float* to, int rows, bool back)
    {
        int features = _heads * _width, half = _width / 2;
        fixed (float* cosines = _cosines, sines = _sines)
        {
            for (long row = 0; row < rows; row++)
            {
                for (int t = 0; t < _time; t++)
                {
                    long at = ((row * _time) + t) * 3 * features;
                    for (int head = 0; head < 2 * _heads; head++)
                    {
                        long first = at + ((long)head * _width);
                        TurnHead(from + first, to + first, cosines + ((long)t * half), sines + ((long)t * half), half, back);
                    }

                    TimeMajor.Copy(from + at + (2 * features), to + at + (2 * features), features);
                }
            }
        }
    }

    // No fused operations, so that vectors of any width give the same bits.
    private static void TurnHead(float* x, float* y, float* cosines, float* sines, int half, bool back)
    {
        int i = 0;
        for (; i <= half - Vector<float>.Count; i += Vector<float>.Count)
        {
            Vector<float> a = Vector.Load(x + i), b = Vector.Load(x + half + i), c = Vector.Load(cosines + i);
            Vector<float> s = back ? -Vector.Load(sines + i) : Vector.Load(sines + i);
            Vector.Store((a * c) - (b * s), y + i);
            Vector.Store((b * c) + (a * s), y + half + i);
        }

        for (; i < half; i++)
        {
            float a = x[i], b = x[half + i], s = back ? -sines[i] : sines[i];
            y[i] = (a * cosines[i]) - (b * s);
            y[half + i] = (b * cosines[i]) + (a * s);
        }
    }
}
