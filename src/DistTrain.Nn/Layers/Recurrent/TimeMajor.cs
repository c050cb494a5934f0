namespace DistTrain.Nn;

/// <summary>
/// Copies between layers' arrays, (rows, time, width), and the recurrent kernels', (time, rows, width).
/// </summary>
internal static unsafe class TimeMajor
{
    /// <summary>to (time, rows, width) = from (rows, time, width).</summary>
    public static void From(float* from, int rows, int time, int width, float* to)
    {
        for (long row = 0; row < rows; row++)
        {
            for (long t = 0; t < time; t++) Copy(from + (((row * time) + t) * width), to + (((t * rows) + row) * width), width);
        }
    }

    /// <summary>to (rows, time, width) = from (time, rows, width).</summary>
    public static void To(float* from, int rows, int time, int width, float* to)
    {
        for (long row = 0; row < rows; row++)
        {
            for (long t = 0; t < time; t++) Copy(from + (((t * rows) + row) * width), to + (((row * time) + t) * width), width);
        }
    }

    /// <summary>Copies one row of values.</summary>
    public static void Copy(float* from, float* to, int width) => new ReadOnlySpan<float>(from, width).CopyTo(new Span<float>(to, width));
}
