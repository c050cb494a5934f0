using DistTrain.Core.Layout;

namespace DistTrain.Nn.Tests;

/// <summary>Weights and examples that tests/golden/make_trainings.py makes too, bit by bit, from an integer hash.</summary>
internal static class HashedNumbers
{
    private const int Squares = 4;

    /// <summary>Vectors called weight are 1, other vectors within 0.1, the rest within 1 / √(fan in).</summary>
    public static void FillWeights(Span<float> values, TensorEntry tensor, int place)
    {
        if (tensor.Shape.Length == 1 && tensor.Name.EndsWith("weight", StringComparison.Ordinal))
        {
            values.Fill(1);
            return;
        }

        double bound = tensor.Shape.Length == 1 ? 0.1 : 1 / Math.Sqrt(tensor.Length / tensor.Shape[0]);
        for (int i = 0; i < values.Length; i++) values[i] = (float)(((2 * Uniform(i, 1000 + place)) - 1) * bound);
    }

    /// <summary>Examples within [-1, 1), labelled by the largest of their first values.</summary>
    public static Rows Examples(int rows, int width, int classes)
    {
        float[] x = [.. Enumerable.Range(0, rows * width).Select(i => Centred(i, 1))];
        return new(x, [.. x.Chunk(width).Select(row => Array.IndexOf(row, row[..classes].Max()))], []);
    }

    /// <summary>Images [channels, size, size]: their class's pattern of 4 by 4 squares under noise of the same strength.</summary>
    public static Rows Images(int rows, int channels, int size, int classes)
    {
        int[] labels = [.. Enumerable.Range(0, rows).Select(row => (int)(Uniform(row, 4) * classes))];
        var inputs = new float[rows * channels * size * size];
        for (int i = 0; i < inputs.Length; i++)
        {
            int x = i % size, y = i / size % size, plane = i / (size * size);
            int pattern = (labels[plane / channels] * channels) + (plane % channels);
            inputs[i] = Centred((((pattern * Squares) + (y * Squares / size)) * Squares) + (x * Squares / size), 5) + Centred(i, 1);
        }

        return new(inputs, labels, []);
    }

    /// <summary>Token ids, and a label for each: three times itself and the one before it, but for some that are its own id.</summary>
    public static Rows Tokens(int rows, int time, int vocabulary)
    {
        int[] ids = [.. Enumerable.Range(0, rows * time).Select(i => (int)(Uniform(i, 2) * vocabulary))];
        int Label(int i) => Uniform(i, 3) < 0.2 ? ids[i] : ((3 * ids[i]) + (i % time == 0 ? 0 : ids[i - 1])) % vocabulary;
        return new([.. ids.Select(id => (float)id)], [.. Enumerable.Range(0, ids.Length).Select(Label)], []);
    }

    private static float Centred(int i, int salt) => (float)((2 * Uniform(i, salt)) - 1);

    // Within [0, 1), 24 bits.
    private static double Uniform(int i, int salt)
    {
        uint x = unchecked((((uint)i + 1) * 0x9E3779B1) + ((uint)salt * 0x85EBCA6B));
        x ^= x >> 15;
        x = unchecked(x * 0x2C1B3C6D);
        x ^= x >> 12;
        x = unchecked(x * 0x297A2D39);
        x ^= x >> 15;
        return (x >> 8) / (double)(1 << 24);
    }
}
