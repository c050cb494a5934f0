using System.Diagnostics;

namespace DistTrain.Bench;

/// <summary>Somebody who does a piece of work as often as he is told and says how long it took.</summary>
/// <param name="name">As it stands in the results.</param>
/// <param name="work">Operations or bytes of one call.</param>
public abstract class Contender(string name, double work)
{
    /// <summary>As it stands in the results.</summary>
    public string Name => name;

    /// <summary>Operations or bytes of one call.</summary>
    public double Work => work;

    /// <summary>Makes ready; called once, before the first burst.</summary>
    public virtual void Prepare()
    {
    }

    /// <summary>Does <paramref name="calls"/> calls and gives the seconds for all of them.</summary>
    public abstract double Burst(int calls);
}

/// <summary>A contender in this process.</summary>
internal sealed class LocalContender(string name, Action call, double work) : Contender(name, work)
{
    public override double Burst(int calls)
    {
        long start = Stopwatch.GetTimestamp();
        for (int i = 0; i < calls; i++) call();
        return Stopwatch.GetElapsedTime(start).TotalSeconds;
    }
}
