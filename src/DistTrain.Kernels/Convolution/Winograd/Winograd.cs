namespace DistTrain.Kernels;

/// <summary>
/// Convolutions of 3x3 with stride 1 by minimal filtering, F(2x2, 3x3): S. Winograd 1980; A. Lavin and S. Gray 2016, "Fast
/// Algorithms for Convolutional Neural Networks". Four outputs take 16 multiplications for each channel instead of 36.
/// Which convolutions go this way follows from their shape alone, because their bits differ from a plain chain's.
/// </summary>
/// <remarks>
/// A pass cuts its target into tiles of 2x2, the first at (0, 0). Each transform goes along y first, then along x, by
/// plain additions and products rounded one by one:
/// <list type="bullet">
/// <item>input of four: d0 - d2, d1 + d2, d2 - d1, d3 - d1;</item>
/// <item>weights of three, s = g0 + g2: g0, (s + g1)·½, (s - g1)·½, g2;</item>
/// <item>outputs from four products: (m0 + m1) + m2, (m1 - m2) + m3;</item>
/// <item>gradient of two outputs: y0, y0 + y1, y0 - y1, y1;</item>
/// <item>gradient of weights, h = (n1 + n2)·½: n0 + h, (n1 - n2)·½, h + n3.</item>
/// </list>
/// Between them each of a tile's 16 places is one chain of fused multiply-adds from +0: over the source channels
/// ascending; in a weight gradient over the tiles of a leaf's examples, (example, y, x) ascending. The data gradient is
/// the pass over dY with the weights turned by 180 degrees. Leaves join along the shard tree after the transform.
/// </remarks>
internal static unsafe class Winograd
{
    /// <summary>Places of a tile in the transformed domain.</summary>
    public const int Places = 16;

    // With fewer channels the transforms cost what they save; with more, transformed weights and their gradients leave the
    // nearer caches; on small images too much of the tiles lies outside.
    private const int LeastChannels = 32;
    private const int MostChannels = 128;
    private const int LeastSide = 8;

    // Floats of a unit's transformed source and products.
    private const nint UnitElements = 160 * 1024;

    /// <summary>Whether a convolution goes this way.</summary>
    public static bool Applies(in ConvolutionShape s) =>
        s.KernelHeight == 3 && s.KernelWidth == 3 && s.StrideY == 1 && s.StrideX == 1 && s.DilationY == 1 && s.DilationX == 1 && s.Groups == 1
        && Suits(s.Channels) && Suits(s.Outputs)
        && s.OutputHeight >= LeastSide && s.OutputWidth >= LeastSide;

    private static bool Suits(int channels) => channels % 16 == 0 && channels is >= LeastChannels and <= MostChannels;

    /// <summary>Floats of the packed weights: (place, source channel, target channel).</summary>
    public static nint PackedLength(in ConvolutionShape s) => (nint)Places * s.Channels * s.Outputs;

    /// <summary>Tiles along an axis of so many targets.</summary>
    public static int Tiles(int targets) => (targets + 1) / 2;

    /// <summary>How many images, or else rows of tiles of one, a unit of work has.</summary>
    public static (int Images, int Rows) Unit(int examples, int tilesY, int tilesX, int channels)
    {
        nint most = Math.Max(UnitElements / ((nint)Places * channels), 1);
        nint image = (nint)tilesY * tilesX;
        if (image <= most) return ((int)Math.Clamp(most / image, 1, Math.Max(examples, 1)), tilesY);
        return (1, (int)Math.Clamp(most / tilesX, 1, tilesY));
    }

    /// <summary>Packs for the forward pass.</summary>
    public static void PackForward(in ConvolutionShape s, float* w, float* packed)
    {
        for (int c = 0; c < s.Channels; c++)
        {
            for (int o = 0; o < s.Outputs; o++)
                Weights(w + ((((nint)o * s.Channels) + c) * 9), 0, 1, packed + ((nint)c * s.Outputs) + o, (nint)s.Channels * s.Outputs);
        }
    }

    /// <summary>Packs for the data gradient: inputs and outputs swapped, both axes turned round.</summary>
    public static void PackData(in ConvolutionShape s, float* w, float* packed)
    {
        for (int o = 0; o < s.Outputs; o++)
        {
            for (int c = 0; c < s.Channels; c++)
                Weights(w + ((((nint)o * s.Channels) + c) * 9), 8, -1, packed + ((nint)o * s.Channels) + c, (nint)s.Channels * s.Outputs);
        }
    }

    private static void Weights(float* g, int first, int step, float* to, nint place)
    {
        float* along = stackalloc float[12];
        for (int x = 0; x < 3; x++) Four(g[first + (step * x)], g[first + (step * (3 + x))], g[first + (step * (6 + x))], along + x, 3);
        for (int y = 0; y < 4; y++) Four(along[3 * y], along[(3 * y) + 1], along[(3 * y) + 2], to + (4 * y * place), place);
    }

    private static void Four(float g0, float g1, float g2, float* to, nint stride)
    {
        float s = g0 + g2;
        to[0] = g0;
        to[stride] = (s + g1) * 0.5f;
        to[2 * stride] = (s - g1) * 0.5f;
        to[3 * stride] = g2;
    }
}
