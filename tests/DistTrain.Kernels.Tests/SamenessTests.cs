using System.Diagnostics;

namespace DistTrain.Kernels.Tests;

public class SamenessTests
{
    [Fact]
    public void Digest_EveryLevelInThisProcess_IsTheSame()
    {
        var digests = new List<string>();
        foreach (SimdLevel level in TestData.Levels)
        {
            using var forced = SimdPath.Force(level);
            digests.Add(KernelDigest.Compute());
        }
        Assert.Single(digests.Distinct());
    }

    [Theory]
    [InlineData("DISTTRAIN_SIMD=512")]
    [InlineData("DISTTRAIN_SIMD=256")]
    [InlineData("DISTTRAIN_SIMD=128")]
    [InlineData("DISTTRAIN_SIMD=scalar")]
    [InlineData("DOTNET_EnableAVX512=0")]
    [InlineData("DOTNET_EnableAVX2=0")]
    [InlineData("DOTNET_EnableAVX=0")]
    [InlineData("DOTNET_EnableHWIntrinsic=0")]
    [InlineData("DOTNET_TieredCompilation=0")]
    public void Digest_InAChildProcessUnderASwitch_IsTheSame(string setting)
    {
        (int code, string output) = RunChild(setting);
        Assert.True(code == 0, output);
        Assert.Equal(KernelDigest.Compute(), output.Split(' ')[0]);
    }

    [Theory]
    [InlineData("DISTTRAIN_SIMD=scalar", SimdLevel.Scalar)]
    [InlineData("DISTTRAIN_SIMD=128", SimdLevel.Vector128)]
    public void Path_Forced_IsUsed(string setting, SimdLevel expected)
    {
        SimdLevel level = expected < SimdPath.Widest ? expected : SimdPath.Widest;
        Assert.EndsWith($" {level}\n", RunChild(setting).Output, StringComparison.Ordinal);
    }

    [Fact]
    public void Path_UnknownValue_FailsByName()
    {
        (int code, string output) = RunChild("DISTTRAIN_SIMD=avx");
        Assert.NotEqual(0, code);
        Assert.Contains("DISTTRAIN_SIMD=avx", output, StringComparison.Ordinal);
    }

    private static (int Code, string Output) RunChild(string setting)
    {
        var start = new ProcessStartInfo(Environment.ProcessPath!.EndsWith("dotnet", StringComparison.Ordinal) ? Environment.ProcessPath : "dotnet")
        {
            UseShellExecute = false,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
            ArgumentList = { "exec", typeof(SamenessTests).Assembly.Location },
        };
        string[] pair = setting.Split('=');
        start.Environment[pair[0]] = pair[1];
        using Process child = Process.Start(start)!;
        Task<string> errors = child.StandardError.ReadToEndAsync();
        string output = child.StandardOutput.ReadToEnd();
        child.WaitForExit();
        return (child.ExitCode, output + errors.GetAwaiter().GetResult());
    }
}
