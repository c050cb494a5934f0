using DistTrain.Core;
using DistTrain.Transport.Grpc;

namespace DistTrain.Fuzz;

/// <summary>
/// A reader of what others write. An input is bytes that stand for themselves: <see cref="Read"/> depends on nothing else, so that a saved
/// one shows the same again.
/// </summary>
internal abstract class FuzzTarget : IDisposable
{
    /// <summary>What the command line calls it.</summary>
    public abstract string Name { get; }

    /// <summary>Inputs of a test run, a second or two.</summary>
    public virtual int Brief => 2000;

    /// <summary>Makes an input: something valid, mostly with some damage done to it.</summary>
    public abstract byte[] Make(FuzzRandom random);

    /// <summary>Reads an input; false when it was refused without an exception.</summary>
    public abstract bool Read(byte[] input);

    /// <summary>What a reader may throw. All else is a finding.</summary>
    public virtual bool IsRefusal(Exception exception) => exception is DistTrainException or GrpcException;

    /// <summary>The most bytes that may be allocated for an input, managed and native.</summary>
    public virtual long Limit(byte[] input) => (1 << 20) + (64L * input.Length);

    public virtual void Dispose()
    {
    }

    /// <summary>The result of what completes at once, because nothing here waits for anything.</summary>
    protected static T Now<T>(ValueTask<T> task) => task.IsCompleted ? task.GetAwaiter().GetResult() : throw new InvalidOperationException("a reader waits for what never comes");
}

/// <summary>A reader broke what is promised of it, other than by an exception.</summary>
internal sealed class BrokenPromiseException(string message) : Exception(message);
