using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using DistTrain.Kernels;

namespace DistTrain.Nn;

/// <summary>
/// Orthogonal rows or columns, whichever are fewer, of length Gain (Saxe et al. 2014, 'Exact solutions to the nonlinear
/// dynamics of learning'); a tensor is taken as the matrix (first dimension, all others). Normal random vectors are made
/// orthonormal by the modified Gram-Schmidt process, each twice, in double: distributed evenly over all such matrices.
/// </summary>
/// <remarks>A sum of products goes to 8 lanes in turn, which join as ((0+4)+(2+6))+((1+5)+(3+7)); nothing is fused.</remarks>
/// <param name="Gain">What the orthonormal matrix is multiplied by.</param>
public sealed record OrthogonalInitialiser(double Gain = 1) : Initialiser
{
    // All elements hang together, and they are asked for in pieces: the tensor is kept until its end was.
    private static readonly ConditionalWeakTable<Parameter, Made> Cache = [];

    /// <inheritdoc/>
    public override string Kind => "orthogonal";

    private protected override unsafe void Fill(KeyedRandom random, Parameter parameter, ulong first, float* x, int length)
    {
        Made made;
        lock (Cache)
        {
            if (!Cache.TryGetValue(parameter, out made!) || made.Random != random) Cache.AddOrUpdate(parameter, made = new Made(random, Make(random, parameter)));
        }

        made.Values.AsSpan((int)first, length).CopyTo(new Span<float>(x, length));
        if ((int)first + length == made.Values.Length) Cache.Remove(parameter);
    }

    private unsafe float[] Make(KeyedRandom random, Parameter parameter)
    {
        int rows = parameter.Shape[0], all = Shapes.Width(parameter.Shape), columns = all / rows;
        bool wide = rows <= columns;
        (int count, int length) = wide ? (rows, columns) : (columns, rows);
        var values = new float[all];
        fixed (float* v = values) random.FillNormal((ulong)parameter.Index, 0, v, all, 0, 1);
        var vectors = new double[count][];
        for (int i = 0; i < count; i++)
        {
            double[] vector = vectors[i] = new double[length];
            for (int k = 0; k < length; k++) vector[k] = values[wide ? (i * columns) + k : (k * columns) + i];
            for (int pass = 0; pass < 2; pass++)
            {
                for (int j = 0; j < i; j++) Subtract(vectors[j], Dot(vectors[j], vector), vector);
            }

            double norm = Math.Sqrt(Dot(vector, vector));
            for (int k = 0; k < length; k++) vector[k] /= norm;
        }

        for (int i = 0; i < count; i++)
        {
            for (int k = 0; k < length; k++) values[wide ? (i * columns) + k : (k * columns) + i] = (float)(vectors[i][k] * Gain);
        }

        return values;
    }

    private static double Dot(double[] a, double[] b)
    {
        Vector512<double> sum = Vector512<double>.Zero;
        int i = 0;
        for (; i <= a.Length - 8; i += 8) sum += Vector512.LoadUnsafe(ref a[i]) * Vector512.LoadUnsafe(ref b[i]);
        Span<double> lanes = stackalloc double[8];
        sum.CopyTo(lanes);
        for (int lane = 0; i < a.Length; i++, lane++) lanes[lane] += a[i] * b[i];
        return ((lanes[0] + lanes[4]) + (lanes[2] + lanes[6])) + ((lanes[1] + lanes[5]) + (lanes[3] + lanes[7]));
    }

    private static void Subtract(double[] a, double factor, double[] from)
    {
        Vector512<double> f = Vector512.Create(factor);
        int i = 0;
        for (; i <= a.Length - 8; i += 8) (Vector512.LoadUnsafe(ref from[i]) - (Vector512.LoadUnsafe(ref a[i]) * f)).StoreUnsafe(ref from[i]);
        for (; i < a.Length; i++) from[i] -= a[i] * factor;
    }

    private sealed record Made(KeyedRandom Random, float[] Values);
}
