using System.Diagnostics.CodeAnalysis;

namespace DistTrain.Kernels;

/// <summary>A block of memory that a kernel was given; null for none.</summary>
internal readonly unsafe struct Floats(void* pointer, nint length)
{
    public float* Pointer { get; } = (float*)pointer;

    /// <summary>In floats.</summary>
    public nint Length { get; } = length;
}

/// <summary>What every kernel checks at its door. The throws are out of line, so that the checks cost a compare each.</summary>
internal static unsafe class Guard
{
    public static void Length(nint length, string name)
    {
        if (length < 0) ThrowNegative(length, name);
    }

    public static void Stride(nint stride, nint least, string name)
    {
        if (stride < least) ThrowStride(stride, least, name);
    }

    public static void NotNull(void* pointer, nint length, string name)
    {
        if (pointer == null && length > 0) ThrowNull(name);
    }

    /// <summary>An output may be one of the inputs itself, or lie apart from it; it may not straddle it.</summary>
    public static void SameOrApart(float* output, float* input, nint length)
    {
        if (output != input && output < input + length && input < output + length) ThrowOverlap();
    }

    /// <summary>Two blocks, of <paramref name="lengthA"/> and <paramref name="lengthB"/> floats, lie apart; null lies nowhere.</summary>
    public static void Apart(float* a, nint lengthA, float* b, nint lengthB)
    {
        if (a < b + lengthB && b < a + lengthA && lengthA > 0 && lengthB > 0 && a != null && b != null) ThrowOverlap();
    }

    /// <summary>All outputs lie apart from each other and from the inputs.</summary>
    public static void Apart(ReadOnlySpan<Floats> outputs, ReadOnlySpan<Floats> inputs)
    {
        for (int i = 0; i < outputs.Length; i++)
        {
            Floats one = outputs[i];
            for (int j = i + 1; j < outputs.Length; j++) Apart(one.Pointer, one.Length, outputs[j].Pointer, outputs[j].Length);
            foreach (Floats other in inputs) Apart(one.Pointer, one.Length, other.Pointer, other.Length);
        }
    }

    /// <summary>Two blocks, of so many bytes, lie apart; null lies nowhere.</summary>
    public static void BytesApart(void* a, nint bytesA, void* b, nint bytesB)
    {
        if (a < (byte*)b + bytesB && b < (byte*)a + bytesA && bytesA > 0 && bytesB > 0 && a != null && b != null) ThrowOverlap();
    }

    /// <summary>Floats from the first to the last of <paramref name="rows"/> rows that lie a stride apart.</summary>
    public static nint Extent(nint rows, nint stride, nint columns) => rows <= 0 ? 0 : ((rows - 1) * stride) + columns;

    [DoesNotReturn]
    public static void ThrowLabel(nint row, int label, int classes) =>
        throw new ArgumentOutOfRangeException(nameof(label), label, $"Row {row} has label {label}; there are {classes} classes, counted from 0.");

    [DoesNotReturn]
    public static void ThrowTarget(nint row, float target, string wanted) =>
        throw new ArgumentOutOfRangeException(nameof(target), target, $"Row {row} has the target {target}; wanted {wanted}.");

    [DoesNotReturn]
    public static void ThrowId(nint token, int id, nint vocabulary) =>
        throw new ArgumentOutOfRangeException(nameof(id), id, $"Token {token} has id {id}; the table has {vocabulary} rows, counted from 0.");

    [DoesNotReturn]
    public static void ThrowSegments(string message, string name) => throw new ArgumentException(message, name);

    [DoesNotReturn]
    private static void ThrowNegative(nint length, string name) =>
        throw new ArgumentOutOfRangeException(name, length, $"{name} is {length}; it must not be negative.");

    [DoesNotReturn]
    private static void ThrowStride(nint stride, nint least, string name) =>
        throw new ArgumentOutOfRangeException(name, stride, $"{name} is {stride}; a row holds {least} values.");

    [DoesNotReturn]
    private static void ThrowNull(string name) => throw new ArgumentNullException(name);

    [DoesNotReturn]
    private static void ThrowOverlap(string output = "output") =>
        throw new ArgumentException("The output overlaps an input without being the same buffer.", output);
}
