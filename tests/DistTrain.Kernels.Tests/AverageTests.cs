using DistTrain.Kernels.Reference;

namespace DistTrain.Kernels.Tests;

public unsafe class AverageTests
{
    [Theory]
    [InlineData(0)]
    [InlineData(0.9)]
    [InlineData(0.999999)]
    public void Average_LengthsLevelsAndThreads_EqualsReference(double decay)
    {
        using var pool = new KernelPool(3);
        foreach (int length in (int[])[.. Enumerable.Range(0, 70), 255, 256, 70_003])
        {
            float[] average = TestData.Random(length, 1), weights = TestData.Random(length, 2);
            float[] expected = [.. average];
            for (int i = 0; i < length; i++) ReferenceUpdates.Average(decay, ref expected[i], weights[i]);
            foreach (SimdLevel level in TestData.Levels)
            {
                using BoundedMemory a = Bounded(average), w = Bounded(weights);
                using (SimdPath.Force(level)) AverageKernel.Update(decay, a.Pointer, w.Pointer, length, pool);
                TestData.AssertSameBits(expected, a.Span, $"averages at {level}");
            }
        }
    }

    [Fact]
    public void Average_OfAWeightThatStays_IsThatWeight()
    {
        float[] weights = TestData.Random(1000, 3);
        using BoundedMemory a = Bounded(weights), w = Bounded(weights);
        for (int step = 0; step < 50; step++) AverageKernel.Update(0.97, a.Pointer, w.Pointer, 1000);
        TestData.AssertSameBits(weights, a.Span, "averages");
    }

    [Fact]
    public void Average_OfAStepOfOne_ApproachesItGeometrically()
    {
        float a = 0, w = 1;
        for (int step = 0; step < 10; step++) AverageKernel.Update(0.9, &a, &w, 1);
        Assert.Equal(1 - Math.Pow(0.9, 10), a, 1e-6);
    }

    private static BoundedMemory Bounded(float[] values)
    {
        var memory = new BoundedMemory(values.Length);
        values.CopyTo(memory.Span);
        return memory;
    }
}
