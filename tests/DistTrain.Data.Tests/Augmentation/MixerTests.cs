using DistTrain.Core;

namespace DistTrain.Data.Tests.Augmentation;

public class MixerTests
{
    private const int Height = 8;
    private const int Width = 10;
    private const int Size = 2 * Height * Width;
    private const int Classes = 4;
    private const int Batch = 2000;

    // Images of one value, 3 and those of partners 7; labels 1 and 2, so that targets tell shares.
    private static (float[] Images, float[] Targets) Mix(ulong seed, long step, int[] positions, params MixAugment[] items)
    {
        float[] images = new float[positions.Length * Size], partners = new float[images.Length], targets = new float[positions.Length * Classes];
        int[] labels = new int[positions.Length], others = new int[positions.Length];
        Array.Fill(images, 3);
        Array.Fill(partners, 7);
        Array.Fill(labels, 1);
        Array.Fill(others, 2);
        Array.Fill(targets, float.NaN);
        new Mixer([.. items], [2, Height, Width], TargetSpec.Classes(Classes), seed).Apply(step, positions, images, partners, labels, others, targets);
        return (images, targets);
    }

    private static int[] Positions(int count = Batch) => [.. Enumerable.Range(0, count)];

    private static float[] Shares(float[] targets) => [.. Enumerable.Range(0, targets.Length / Classes).Select(i => targets[(i * Classes) + 1])];

    private static float[] Row(float[] rows, int i, int size) => rows[(i * size)..((i + 1) * size)];

    [Theory]
    [InlineData(0.2)]
    [InlineData(1)]
    [InlineData(4)]
    public void Mixup_SharesAreBetaDistributed_ForImagesAndLabels(double alpha)
    {
        (float[] images, float[] targets) = Mix(1, 5, Positions(), new MixupAugment(alpha));
        float[] shares = Shares(targets);
        for (int i = 0; i < Batch; i++)
        {
            Assert.All(Row(images, i, Size), v => Assert.Equal((3 * shares[i]) + (7 * (1 - shares[i])), v, 1e-5));
            Assert.Equal([0, shares[i], 1 - shares[i], 0], Row(targets, i, Classes));
        }

        // Beta(α, α): mean 1/2, variance 1/(4(2α + 1)); below 1/4 as often as above 3/4.
        double variance = 1 / (4 * ((2 * alpha) + 1));
        Assert.Equal(0.5, shares.Average(), 4 * Math.Sqrt(variance / Batch));
        Assert.Equal(variance, shares.Average(s => (s - 0.5) * (s - 0.5)), 0.08 * variance);
        Assert.Equal(shares.Count(s => s < 0.25), shares.Count(s => s > 0.75), 150.0);
    }

    [Fact]
    public void Mixup_SmallestAlpha_TakesOneOrTheOther()
    {
        (_, float[] targets) = Mix(1, 0, Positions(), new MixupAugment(0.001));
        float[] shares = Shares(targets);
        Assert.All(shares, s => Assert.InRange(s, 0, 1));
        Assert.True(shares.Count(s => s is < 1e-3f or > 0.999f) > 0.97 * Batch);
        Assert.InRange(shares.Count(s => s > 0.5), 900, 1100);
    }

    [Fact]
    public void CutMix_PastesARectangle_AndCountsItsPixels()
    {
        (float[] images, float[] targets) = Mix(3, 2, Positions(), new CutMixAugment());
        float[] shares = Shares(targets);
        for (int i = 0; i < Batch; i++)
        {
            float[] image = Row(images, i, Size);
            int[] pasted = [.. Enumerable.Range(0, Height * Width).Where(p => image[p] == 7)];
            Assert.Equal(pasted, Enumerable.Range(0, Height * Width).Where(p => image[(Height * Width) + p] == 7));
            Assert.Equal(Size, image.Count(v => v is 3 or 7));
            Assert.Equal(pasted.Select(p => p / Width).Distinct().Count() * pasted.Select(p => p % Width).Distinct().Count(), pasted.Length);
            Assert.Equal(1 - (pasted.Length / (float)(Height * Width)), shares[i], 1e-6);
        }

        Assert.True(shares.Distinct().Count() > 20);
        Assert.Contains(shares, s => s < 0.45);
    }

    [Fact]
    public void Mixer_TwoKinds_AsksOneOfThem()
    {
        (float[] images, float[] targets) = Mix(3, 2, Positions(), new MixupAugment(1, 0.5), new CutMixAugment(1, 0));
        int mixed = Shares(targets).Count(s => s < 1);
        Assert.InRange(mixed, 400, 600);
        Assert.Equal(mixed, Enumerable.Range(0, Batch).Count(i => Row(images, i, Size).Distinct().Count() == 1 && images[i * Size] != 3));
        (images, _) = Mix(3, 2, Positions(), new MixupAugment(4), new CutMixAugment());
        Assert.InRange(Enumerable.Range(0, Batch).Count(i => Row(images, i, Size).Distinct().Any(v => v is > 3 and < 7)), 900, 1100);
    }

    [Fact]
    public void Apply_AnyPieces_GivesTheSameBits()
    {
        MixAugment[] items = [new MixupAugment(0.4), new CutMixAugment(1, 0.7)];
        (float[] images, float[] targets) = Mix(9, 6, Positions(50), items);
        foreach (int i in new[] { 49, 0, 17 })
        {
            (float[] image, float[] target) = Mix(9, 6, [i], items);
            Assert.Equal(Row(images, i, Size), image);
            Assert.Equal(Row(targets, i, Classes), target);
        }

        Assert.NotEqual(targets, Mix(9, 7, Positions(50), items).Targets);
        Assert.NotEqual(targets, Mix(8, 6, Positions(50), items).Targets);
    }

    [Fact]
    public void Apply_PartnerOfTheSameClass_IsThatClass()
    {
        float[] targets = new float[Classes];
        new Mixer([new MixupAugment(1)], [2, Height, Width], TargetSpec.Classes(Classes), 1).Apply(0, [0], new float[Size], new float[Size], [3], [3], targets);
        Assert.Equal([0, 0, 0, 1], targets);
    }

    [Fact]
    public void Partners_AreAPermutation_OfTheStep()
    {
        var mixer = new Mixer([new MixupAugment()], [1, 2, 2], TargetSpec.Classes(3), 4);
        int[] all = new int[100], other = new int[100], one = new int[1];
        mixer.Partners(3, 100, Positions(100), all);
        Assert.Equal(Positions(100), all.Order());
        mixer.Partners(3, 100, [42], one);
        Assert.Equal(all[42], one[0]);
        mixer.Partners(4, 100, Positions(100), other);
        Assert.NotEqual(all, other);
    }

    [Fact]
    public void Apply_OnceMade_AllocatesNothing()
    {
        var mixer = new Mixer([new MixupAugment(), new CutMixAugment()], [2, Height, Width], TargetSpec.Classes(Classes), 1);
        int[] positions = Positions(8), labels = new int[8], partners = new int[8];
        float[] images = new float[8 * Size], others = new float[8 * Size], targets = new float[8 * Classes];
        mixer.Apply(0, positions, images, others, labels, labels, targets);
        mixer.Partners(0, 100, positions, partners);
        long before = GC.GetAllocatedBytesForCurrentThread();
        for (int step = 1; step < 10; step++)
        {
            mixer.Partners(step, 100, positions, partners);
            mixer.Apply(step, positions, images, others, labels, labels, targets);
        }

        Assert.Equal(0, GC.GetAllocatedBytesForCurrentThread() - before);
    }

    [Fact]
    public void Mixer_WhatMakesNoSense_Refuses()
    {
        Refused([new MixupAugment(), new FlipAugment()], [1, 2, 2], TargetSpec.Classes(3), "data.augment: 'mixup' mixes finished images; put it behind 'flip'");
        Refused([new CutMixAugment()], [1, 2, 2], TargetSpec.Real(1), "data.augment: 'cutmix' mixes the class labels of two examples; the data has 1 real target");
        Refused([new CutMixAugment()], [1, 2, 2], TargetSpec.Classes(3, 7), "data.augment: 'cutmix' mixes the class labels of two examples; the data has 3 classes at each of 7 positions");
        Refused([new CutMixAugment()], [4], TargetSpec.Classes(3), "data.augment: 'cutmix' is for images [channels, height, width]; the examples are [4]");

        static void Refused(AugmentSpec[] items, int[] shape, TargetSpec target, string expected)
        {
            var e = Assert.Throws<DistTrainException>(() => new Mixer([.. items], [.. shape], target, 1));
            Assert.Equal(ExitCode.BadUsage, e.ExitCode);
            Assert.Equal(expected, e.Message);
        }
    }
}
