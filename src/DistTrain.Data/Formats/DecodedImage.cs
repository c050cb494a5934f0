using DistTrain.Core;
using StbImageSharp;

namespace DistTrain.Data;

/// <summary>The pixels of a PNG or JPEG file, (channels, height, width), row-major; what is transparent counts as opaque.</summary>
internal sealed record DecodedImage(byte[] Pixels, int Channels, int Height, int Width)
{
    private const int MostBytes = 1 << 28;

    // A small file may hold this many pixels, a larger one as many for each byte as deflate can pack: a few bytes of header buy no gigabytes.
    private const long AlwaysRead = 1 << 22;

    /// <summary>Decodes a file; null for <paramref name="colour"/> takes its own.</summary>
    /// <exception cref="DistTrainException">It can't be read, or is no such image.</exception>
    public static DecodedImage Read(string path, bool? colour)
    {
        ImageResult image;
        try
        {
            long length = new FileInfo(path).Length;
            if (length > MostBytes) throw new InvalidDataException($"{length} bytes; at most {MostBytes} are read");
            byte[] bytes = File.ReadAllBytes(path);
            if (IsCutOffJpeg(bytes)) throw new InvalidDataException("a JPEG that is cut off: no end marker follows its last scan");
            using var file = new MemoryStream(bytes);
            ImageInfo info = ImageInfo.FromStream(file) ?? throw new InvalidDataException("no PNG or JPEG image");
            if ((long)info.Width * info.Height > MostBytes) throw new InvalidDataException($"{info.Width} x {info.Height} pixels; at most {MostBytes} are read");
            if ((long)info.Width * info.Height > Math.Max(AlwaysRead, length * DataFile.MaximumExpansion)) throw new InvalidDataException($"{info.Width} x {info.Height} pixels, which {length} bytes can't hold");
            file.Position = 0;
            colour ??= info.ColorComponents is ColorComponents.RedGreenBlue or ColorComponents.RedGreenBlueAlpha;
            image = ImageResult.FromStream(file, colour.Value ? ColorComponents.RedGreenBlue : ColorComponents.Grey);
        }
#pragma warning disable CA1031 // The decoder throws whatever comes when a file is damaged.
        catch (Exception e)
#pragma warning restore CA1031
        {
            throw new DistTrainException(ExitCode.BadData, $"{path}: can't be decoded: {e.Message}", e);
        }

        int channels = colour.Value ? 3 : 1, plane = image.Width * image.Height;
        var pixels = new byte[channels * plane];
        for (int i = 0; i < plane; i++)
        {
            for (int c = 0; c < channels; c++) pixels[(c * plane) + i] = image.Data[(i * channels) + c];
        }

        return new DecodedImage(pixels, channels, image.Height, image.Width);
    }

    // The decoder takes what is missing for zeros and says nothing. Markers don't occur within a scan, whose FF bytes are stuffed.
    private static bool IsCutOffJpeg(ReadOnlySpan<byte> bytes)
    {
        if (!bytes.StartsWith((ReadOnlySpan<byte>)[0xFF, 0xD8])) return false;
        int scan = bytes.LastIndexOf((ReadOnlySpan<byte>)[0xFF, 0xDA]), end = bytes.LastIndexOf((ReadOnlySpan<byte>)[0xFF, 0xD9]);
        return scan < 0 || end < scan;
    }
}
