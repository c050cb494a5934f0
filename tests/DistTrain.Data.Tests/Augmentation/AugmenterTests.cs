using DistTrain.Core;

namespace DistTrain.Data.Tests.Augmentation;

public class AugmenterTests
{
    private const int Height = 9;
    private const int Width = 11;

    // Channel c of image i at (y, x): 10·i + 100·c + slopes, so that every change shows.
    private static float Value(int image, int c, double y, double x) => (float)((10 * image) + (100 * c) + (3 * y) + (0.5 * x) + 7);

    private static float[] Images(int count, int channels = 2)
    {
        var images = new List<float>();
        for (int i = 0; i < count; i++)
        {
            for (int c = 0; c < channels; c++)
            {
                for (int y = 0; y < Height; y++) images.AddRange(Enumerable.Range(0, Width).Select(x => Value(i, c, y, x)));
            }
        }

        return [.. images];
    }

    private static float[] Apply(float[] images, long epoch, ulong seed, params AugmentSpec[] items) => ApplyWith(0, images, epoch, seed, items);

    private static float[] ApplyWith(float black, float[] images, long epoch, ulong seed, params AugmentSpec[] items)
    {
        float[] result = [.. images];
        int count = images.Length / (2 * Height * Width);
        new Augmenter([.. items], [2, Height, Width], seed, black).Apply(epoch, [.. Enumerable.Range(0, count).Select(i => (long)i)], result);
        return result;
    }

    private static float At(float[] images, int i, int c, int y, int x) => images[(((((i * 2) + c) * Height) + y) * Width) + x];

    [Fact]
    public void Flip_MirrorsRowsAsOftenAsSaid()
    {
        float[] images = Images(400);
        float[] always = Apply(images, 0, 1, new FlipAugment(1));
        for (int x = 0; x < Width; x++) Assert.Equal(Value(3, 1, 4, Width - 1 - x), At(always, 3, 1, 4, x));
        Assert.Equal(images, Apply(images, 0, 1, new FlipAugment(0)));
        float[] some = Apply(images, 0, 1, new FlipAugment(0.25));
        int flipped = Enumerable.Range(0, 400).Count(i => At(some, i, 0, 0, 0) != At(images, i, 0, 0, 0));
        Assert.InRange(flipped, 70, 130);
    }

    [Fact]
    public void Crop_IsAWholeMoveWithZerosComingIn()
    {
        float[] images = Images(300);
        float[] moved = Apply(images, 0, 1, new CropAugment(2));
        var seen = new HashSet<(int, int)>();
        for (int i = 0; i < 300; i++)
        {
            // The middle stays within the image, and tells where it came from.
            var from = Enumerable.Range(-2, 5).SelectMany(dy => Enumerable.Range(-2, 5).Select(dx => (dy, dx)))
                .Single(d => Value(i, 0, 4 + d.dy, 5 + d.dx) == At(moved, i, 0, 4, 5));
            seen.Add(from);
            for (int y = 0; y < Height; y++)
            {
                for (int x = 0; x < Width; x++)
                {
                    bool inside = y + from.dy is >= 0 and < Height && x + from.dx is >= 0 and < Width;
                    Assert.Equal(inside ? Value(i, 1, y + from.dy, x + from.dx) : 0, At(moved, i, 1, y, x));
                }
            }
        }

        Assert.Equal(25, seen.Count);
    }

    [Fact]
    public void Crop_WiderThanTheImage_LeavesNothing()
    {
        float[] moved = Apply(Images(50), 0, 1, new CropAugment(100));
        Assert.Contains(Enumerable.Range(0, 50), i => Enumerable.Range(0, Height * Width).All(p => moved[(i * 2 * Height * Width) + p] == 0));
    }

    // Bilinear reading keeps planes, so slopes tell angle and factor.
    [Theory]
    [InlineData(0, 30, 1, 1)]
    [InlineData(0, 0, 1.25, 1.25)]
    [InlineData(0, 0, 0.5, 0.9)]
    [InlineData(1.5, 0, 1, 1)]
    [InlineData(1, 45, 0.8, 1.2)]
    public void Affine_OfAPlane_IsThePlaneMapped(double pixels, double degrees, double least, double most)
    {
        float[] images = Images(100);
        float[] mapped = Apply(images, 2, 5, new ScaleAugment(least, most), new RotateAugment(degrees), new ShiftAugment(pixels));
        double slope = Math.Sqrt((3 * 3) + (0.5 * 0.5));
        var angles = new List<double>();
        for (int i = 0; i < 100; i++)
        {
            double middle = At(mapped, i, 0, 4, 5);
            double dy = At(mapped, i, 0, 5, 5) - middle, dx = At(mapped, i, 0, 4, 6) - middle;
            Assert.InRange(Math.Sqrt((dy * dy) + (dx * dx)) / slope, (1 / most) - 2e-3, (1 / least) + 2e-3);
            double angle = (Math.Atan2(dy, dx) - Math.Atan2(3, 0.5)) * 180 / Math.PI;
            Assert.InRange(Math.Abs(angle), 0, degrees + 0.1);
            angles.Add(angle);
            Assert.InRange(Math.Abs(middle - Value(i, 0, 4, 5)), 0, (pixels * 3.5 / least) + 1e-2);
            // Channels go through the same map.
            Assert.Equal(100, At(mapped, i, 1, 5, 6) - At(mapped, i, 0, 5, 6), 0.01);
        }

        if (degrees > 0) Assert.True(angles.Max() > degrees / 2 && angles.Min() < -degrees / 2);
        if (pixels == 0 && degrees == 0) Assert.All(Enumerable.Range(0, 100), i => Assert.Equal(Value(i, 0, 4, 5), At(mapped, i, 0, 4, 5), 0.01));
    }

    [Fact]
    public void Affine_NoChange_IsTheImageItself()
    {
        float[] images = Images(3);
        Assert.Equal(images, Apply(images, 0, 1, new ShiftAugment(0), new RotateAugment(0), new ScaleAugment(1, 1)));
    }

    [Fact]
    public void Cutout_ZeroesASquareAroundAnyPixel()
    {
        float[] images = Images(300);
        float[] cut = Apply(images, 0, 1, new CutoutAugment(4));
        var sizes = new HashSet<int>();
        for (int i = 0; i < 300; i++)
        {
            List<int>[] zeros = [.. Enumerable.Range(0, 2).Select(c => Enumerable.Range(0, Height * Width).Where(p => cut[(((i * 2) + c) * Height * Width) + p] == 0).ToList())];
            Assert.Equal(zeros[0], zeros[1]);
            int rows = zeros[0].Select(p => p / Width).Distinct().Count(), columns = zeros[0].Select(p => p % Width).Distinct().Count();
            Assert.Equal(rows * columns, zeros[0].Count);
            Assert.InRange(rows, 2, 4);
            Assert.InRange(columns, 2, 4);
            sizes.Add((rows * 10) + columns);
        }

        Assert.Contains(44, sizes);
        Assert.True(sizes.Count > 4);
    }

    // A picture of one value v = black + 1 moved by any of these is black + what it would be over zeros.
    [Fact]
    public void WhatComesIn_IsBlack()
    {
        const float Black = -0.75f;
        AugmentSpec[][] kinds = [[new CropAugment(3)], [new ShiftAugment(2.5), new RotateAugment(30), new ScaleAugment(0.5, 0.9)], [new CutoutAugment(4)]];
        foreach (AugmentSpec[] items in kinds)
        {
            float[] ones = new float[50 * 2 * Height * Width];
            Array.Fill(ones, 1);
            float[] lifted = [.. ones.Select(v => v + Black)];
            float[] overZeros = Apply(ones, 1, 4, items), overBlack = ApplyWith(Black, lifted, 1, 4, items);
            Assert.Contains(0, overZeros);
            for (int i = 0; i < overZeros.Length; i++) Assert.Equal(overZeros[i] + Black, overBlack[i], 1e-5f);
        }
    }

    [Fact]
    public void BrightnessAndNoise_AddWhatTheySay()
    {
        float[] zeros = new float[500 * 2 * Height * Width];
        float[] bright = Apply(zeros, 0, 1, new BrightnessAugment(0.5));
        float[] firsts = [.. Enumerable.Range(0, 500).Select(i => At(bright, i, 0, 0, 0))];
        Assert.All(Enumerable.Range(0, 500), i => Assert.Equal(firsts[i], At(bright, i, 1, Height - 1, Width - 1)));
        Assert.InRange(firsts.Min(), -0.5, -0.48);
        Assert.InRange(firsts.Max(), 0.48, 0.5);
        float[] noisy = Apply(zeros, 0, 1, new NoiseAugment(0.1));
        Assert.InRange(noisy.Average(), -0.002, 0.002);
        Assert.InRange(noisy.Average(v => v * v), 0.0098, 0.0102);
    }

    [Fact]
    public void Apply_AnyOrderAndPieces_GivesTheSameBits()
    {
        AugmentSpec[] items = [new FlipAugment(), new CropAugment(1), new RotateAugment(10), new NoiseAugment(0.1), new CutoutAugment(3)];
        float[] images = Images(4);
        float[] all = Apply(images, 3, 9, items);
        int size = images.Length / 4;
        var one = new Augmenter([.. items], [2, Height, Width], 9);
        for (int i = 3; i >= 0; i--)
        {
            float[] image = [.. images.AsSpan(i * size, size)];
            one.Apply(3, [i], image);
            Assert.Equal(all[(i * size)..((i + 1) * size)], image);
        }

        Assert.NotEqual(all, Apply(images, 4, 9, items));
        Assert.NotEqual(all, Apply(images, 3, 8, items));
    }

    [Fact]
    public void Apply_OnceMade_AllocatesNothing()
    {
        AugmentSpec[] items = [new FlipAugment(), new CropAugment(1), new RotateAugment(10), new ScaleAugment(0.9, 1.1), new BrightnessAugment(1), new NoiseAugment(0.1), new CutoutAugment(3)];
        var augmenter = new Augmenter([.. items], [2, Height, Width], 1);
        float[] images = Images(4);
        augmenter.Apply(0, [0, 1, 2, 3], images);
        long before = GC.GetAllocatedBytesForCurrentThread();
        for (int epoch = 1; epoch < 10; epoch++) augmenter.Apply(epoch, [0, 1, 2, 3], images);
        Assert.Equal(0, GC.GetAllocatedBytesForCurrentThread() - before);
    }

    [Fact]
    public void Augmenter_WhatMakesNoSense_Refuses()
    {
        var e = Assert.Throws<DistTrainException>(() => new Augmenter([new FlipAugment()], [64], 1));
        Assert.Equal(ExitCode.BadUsage, e.ExitCode);
        Assert.Equal("data.augment: 'flip' is for images [channels, height, width]; the examples are [64]", e.Message);
        e = Assert.Throws<DistTrainException>(() => new Augmenter([new CropAugment(1), new CropAugment(2)], [1, 2, 2], 1));
        Assert.Equal("data.augment: 'crop' is there twice", e.Message);
    }
}
