namespace DistTrain.Fuzz.Tests;

/// <summary>
/// A second of fuzzing for each reader. It says nothing of time: <c>dotnet run -c Release --project tests/DistTrain.Fuzz</c> runs long,
/// and judges that, too.
/// </summary>
public class FuzzTests
{
    public static TheoryData<string> Targets => [.. FuzzTargets.Names];

    [Theory]
    [MemberData(nameof(Targets))]
    public void Reader_GivenAnything_TakesItOrRefusesItWithinItsMemory(string target)
    {
        using FuzzTarget reader = FuzzTargets.Make(target);
        var run = new FuzzRun(reader, seed: 1);
        run.Run(reader.Brief, TimeSpan.MaxValue);
        Assert.Empty(run.Findings.Select(f => $"input {f.Number}: {f.What}"));
        // The samples are good ones, and the damage does harm.
        Assert.True(run.Accepted > run.Inputs / 100, $"{run.Accepted} of {run.Inputs} inputs were accepted");
    }

    [Theory]
    [MemberData(nameof(Targets))]
    public void Input_OfTheSameSeedAndNumber_IsTheSame(string target)
    {
        using FuzzTarget first = FuzzTargets.Make(target), second = FuzzTargets.Make(target);
        for (int i = 0; i < 50; i++) Assert.Equal(first.Make(new FuzzRandom(7, target, i)), second.Make(new FuzzRandom(7, target, i)));
        Assert.NotEqual(first.Make(new FuzzRandom(7, target, 0)), first.Make(new FuzzRandom(8, target, 0)));
    }

    [Fact]
    public void Finding_OfABrokenReader_IsToldOnce()
    {
        using var reader = new Broken();
        var run = new FuzzRun(reader, seed: 1);
        run.Run(1000, TimeSpan.MaxValue);
        Finding finding = Assert.Single(run.Findings, f => f.What.StartsWith("allocated", StringComparison.Ordinal));
        Assert.Equal(2, run.Findings.Count);
        Assert.True(finding.Number >= 300);
    }

    private sealed class Broken : FuzzTarget
    {
        public override string Name => "broken";

        public override byte[] Make(FuzzRandom random) => [(byte)random.Next(3)];

        public override bool Read(byte[] input) => input[0] switch
        {
            0 => new byte[8 << 20].Length > 0,
            1 => throw new InvalidOperationException("a slip"),
            _ => false,
        };
    }
}
