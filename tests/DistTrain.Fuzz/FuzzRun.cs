using System.Diagnostics;
using System.Globalization;
using DistTrain.Kernels;

namespace DistTrain.Fuzz;

/// <summary>An input that a reader didn't take as it should.</summary>
/// <param name="Target">Whose it is.</param>
/// <param name="Number">Which one of the seed's.</param>
/// <param name="Input">Its bytes.</param>
/// <param name="What">What happened.</param>
internal sealed record Finding(string Target, long Number, byte[] Input, string What);

/// <summary>Feeds a target, and keeps account of what became of the inputs.</summary>
internal sealed class FuzzRun(FuzzTarget target, ulong seed)
{
    // Of these, what types and pools allocate once is not counted.
    private const int WarmUp = 300;
    private const int MostFindings = 20;

    private readonly HashSet<string> _seen = [];
    private long _began;
    private volatile byte[]? _inHand;

    public FuzzTarget Target => target;

    public List<Finding> Findings { get; } = [];

    public long Inputs { get; private set; }

    public long Accepted { get; private set; }

    public long Refused { get; private set; }

    public long MostBytes { get; private set; }

    public TimeSpan Slowest { get; private set; }

    public TimeSpan Elapsed { get; private set; }

    /// <summary>The input that is being read, and for how long; null between two. From any thread.</summary>
    public (byte[] Input, TimeSpan For)? InHand => _inHand is { } input ? (input, Stopwatch.GetElapsedTime(Volatile.Read(ref _began))) : null;

    /// <summary>Reads inputs until there have been enough, or it has taken long enough.</summary>
    public void Run(long inputs, TimeSpan atMost)
    {
        long began = Stopwatch.GetTimestamp();
        while (Inputs < inputs && Findings.Count < MostFindings)
        {
            if ((Inputs & 63) == 0 && Stopwatch.GetElapsedTime(began) >= atMost) break;
            long number = Inputs++;
            One(number, target.Make(new FuzzRandom(seed, target.Name, number)));
        }

        Elapsed = Stopwatch.GetElapsedTime(began);
    }

    /// <summary>Reads one input.</summary>
    public void One(long number, byte[] input)
    {
        Volatile.Write(ref _began, Stopwatch.GetTimestamp());
        _inHand = input;
        long allocated = GC.GetAllocatedBytesForCurrentThread() + NativeBuffer.TakenByThread;
        string? broken = null;
        try
        {
            if (target.Read(input)) Accepted++;
            else Refused++;
        }
        catch (Exception e) when (target.IsRefusal(e))
        {
            Refused++;
        }
        catch (Exception e)
        {
            broken = e.ToString();
        }

        allocated = GC.GetAllocatedBytesForCurrentThread() + NativeBuffer.TakenByThread - allocated;
        _inHand = null;
        TimeSpan took = Stopwatch.GetElapsedTime(_began);
        if (number >= WarmUp)
        {
            MostBytes = Math.Max(MostBytes, allocated);
            Slowest = took > Slowest ? took : Slowest;
            if (broken is null && allocated > target.Limit(input)) broken = string.Create(CultureInfo.InvariantCulture, $"allocated {allocated:N0} bytes for an input of {input.Length:N0}; the limit is {target.Limit(input):N0}");
        }

        if (broken is not null && _seen.Add(Kind(broken))) Findings.Add(new Finding(target.Name, number, input, broken));
    }

    // Numbers apart, and of an exception only where it was thrown: the same slip counts once.
    private static string Kind(string what)
    {
        string[] lines = what.Split('\n');
        IEnumerable<string> frames = lines.Where(l => l.StartsWith("   at ", StringComparison.Ordinal)).Take(2);
        string head = lines[0].Split(':')[0];
        return string.Concat(string.Join('\n', [head, .. frames]).Where(c => !char.IsAsciiDigit(c)));
    }
}
