using DistTrain.Jobs;
using DistTrain.Kernels;

namespace DistTrain.Tests.Jobs;

public class WireSectionTests
{
    private const string Least = "data: digits\nmodel: [flatten, dense: 10]\n";

    private static Job Read(string lines) => JobReader.Parse(Least + lines, "job.yaml");

    [Theory]
    [InlineData("", GradientWire.Float32, FloatFormat.Float32)]
    [InlineData("training: { precision: bf16 }", GradientWire.BFloat16, FloatFormat.BFloat16)]
    [InlineData("training: { precision: fp16 }", GradientWire.Float16, FloatFormat.Float16)]
    [InlineData("training: { precision: fp16 }\nwire: { gradients: int8 }", GradientWire.Int8, FloatFormat.Float16)]
    [InlineData("training: { precision: bf16 }\nwire: { weights: fp32 }", GradientWire.BFloat16, FloatFormat.Float32)]
    [InlineData("wire: { gradients: fp16, weights: bf16 }", GradientWire.Float16, FloatFormat.BFloat16)]
    [InlineData("wire: { gradients: top_k }", GradientWire.TopK, FloatFormat.Float32)]
    public void Parse_Wire_OverridesWhatThePrecisionImplies(string lines, GradientWire gradients, FloatFormat weights)
    {
        Job job = Read(lines);
        Assert.Equal(gradients, job.Wire.GradientsFor(job.Training.Precision));
        Assert.Equal(weights, job.Wire.WeightsFor(job.Training.Precision));
        Assert.Equal(job.Wire, JobReader.Parse(job.ToYaml(), "again").Wire);
        Assert.Equal(job.Hash, JobReader.Parse(job.ToYaml(), "again").Hash);
    }

    [Theory]
    [InlineData("wire: { gradients: top_k }", 0.01)]
    [InlineData("wire: { gradients: { top_k: 0.05 } }", 0.05)]
    [InlineData("wire: { gradients: { top_k: { fraction: 0.25 } } }", 0.25)]
    public void Parse_TopK_TakesAFraction(string lines, double fraction) => Assert.Equal(fraction, Read(lines).Wire.Fraction);

    [Fact]
    public void Hash_OfWhatIsImpliedAnyway_IsTheJobs()
    {
        Assert.Equal(Read("").Hash, Read("wire: { gradients: fp32, weights: fp32 }").Hash);
        Assert.Equal(Read("training: { precision: bf16 }").Hash, Read("training: { precision: bf16 }\nwire: { gradients: bf16, weights: bf16 }").Hash);
        string[] all = [.. ((string[])["", "wire: { gradients: int8 }", "wire: { gradients: bf16 }", "wire: { weights: bf16 }", "wire: { gradients: top_k }", "wire: { gradients: { top_k: 0.02 } }"]).Select(l => Read(l).Hash)];
        Assert.Equal(all.Length, all.Distinct().Count());
    }
}
