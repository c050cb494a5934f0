using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace DistTrain.Core.Memory;

/// <summary>
/// One end of a line of short messages between two processes of a host, each of which writes to a region of its own and
/// reads the other's: a ring of slots, and two counters. Who waits sleeps in the kernel. One thread at a time writes, one
/// reads. Linux only.
/// </summary>
/// <typeparam name="T">A message: plain bytes.</typeparam>
public sealed unsafe class SharedLine<T> : IDisposable
    where T : unmanaged
{
    // A power of two: counters run over.
    private const int Slots = 1024;

    // What is written to by one side's thread each lies in a cache line of its own.
    private const int WrittenAt = 0, ReadAt = 128, AsleepAt = 256, SlotsAt = 384;

    private readonly Lock _ending = new();
    private SharedRegion? _peer;
    private uint _written;
    private uint _read;
    private volatile bool _closed;
    private int _inside;
    private bool _disposed;

    private SharedLine(SharedRegion own) => Own = own;

    /// <summary>The bytes of a region of this side or the other.</summary>
    public static long Length => SlotsAt + ((long)Slots * sizeof(T));

    /// <summary>This side's region.</summary>
    public SharedRegion Own { get; }

    /// <summary>Makes one end; null where memory can't be shared.</summary>
    public static SharedLine<T>? Create() => SharedRegion.Create(Length) is { } own ? new SharedLine<T>(own) : null;

    /// <summary>Joins this end to the other side's, which is this one's from now on. Before any message.</summary>
    /// <exception cref="ArgumentException">The region has another size.</exception>
    public void Attach(SharedRegion peer)
    {
        if (peer.Length != Length) throw new ArgumentException($"a line's region has {Length} bytes, not {peer.Length}", nameof(peer));
        _peer = peer;
    }

    /// <summary>Leaves a message for the other side and wakes it; false when there is no room, or the line is closed.</summary>
    public bool TryWrite(in T message)
    {
        if (!Enter()) return false;
        try
        {
            if (_written - Volatile.Read(ref At(_peer!, ReadAt)) >= Slots) return false;
            Unsafe.Write((void*)Slot(Own, _written), message);
            Volatile.Write(ref At(Own, WrittenAt), ++_written);
            // Whoever goes to sleep says so before it looks once more.
            Interlocked.MemoryBarrier();
            uint wanted = Volatile.Read(ref At(_peer!, AsleepAt));
            if (wanted != 0 && _written - Volatile.Read(ref At(_peer!, ReadAt)) >= wanted) Futex.Wake(Own.Address + WrittenAt);
            return true;
        }
        finally
        {
            Leave();
        }
    }

    /// <summary>Waits for the other side's next message; false when the line is closed.</summary>
    /// <param name="message">The message.</param>
    /// <param name="wanted">Asked before it sleeps: how many messages it takes until there is something to do, so that fewer needn't wake it; 1 where that isn't known. They are read all the same when it wakes.</param>
    /// <exception cref="DistTrainException">The other side's counter says what can't be.</exception>
    public bool Read(out T message, Func<int>? wanted = null)
    {
        message = default;
        while (Enter())
        {
            try
            {
                uint written = Volatile.Read(ref At(_peer!, WrittenAt));
                if (written - _read > Slots) throw new DistTrainException(ExitCode.ClusterLost, $"the line of shared memory is broken: {written - _read} messages in {Slots} slots");
                if (written != _read)
                {
                    message = Unsafe.Read<T>((void*)Slot(_peer!, _read));
                    Volatile.Write(ref At(Own, ReadAt), ++_read);
                    return true;
                }

                Volatile.Write(ref At(Own, AsleepAt), (uint)Math.Clamp(wanted?.Invoke() ?? 1, 1, Slots));
                Interlocked.MemoryBarrier();
                if (!_closed) Futex.Wait(_peer!.Address + WrittenAt, written);
                Volatile.Write(ref At(Own, AsleepAt), 0);
            }
            finally
            {
                Leave();
            }
        }

        return false;
    }

    /// <summary>Ends reading and writing here; what waits is woken. The other side is not told.</summary>
    public void Close()
    {
        _closed = true;
        // Whoever is about to sleep may have looked before: it wakes by itself soon after (see Futex.Wait).
        if (Enter(evenClosed: true))
        {
            if (_peer is { } peer) Futex.Wake(peer.Address + WrittenAt);
            Leave();
        }
    }

    /// <summary>Closes this end and gives its memory back, once nobody reads or writes any more.</summary>
    public void Dispose()
    {
        Close();
        lock (_ending)
        {
            if (_disposed) return;
            _disposed = true;
            if (_inside == 0) Free();
        }
    }

    // The memory stays while anybody is within a call.
    private bool Enter(bool evenClosed = false)
    {
        if (_closed && !evenClosed) return false;
        lock (_ending)
        {
            if (_disposed) return false;
            _inside++;
            return true;
        }
    }

    private void Leave()
    {
        lock (_ending)
        {
            if (--_inside == 0 && _disposed) Free();
        }
    }

    private void Free()
    {
        Own.Dispose();
        _peer?.Dispose();
    }

    private static ref uint At(SharedRegion region, int offset) => ref Unsafe.AsRef<uint>((void*)(region.Address + offset));

    private static nint Slot(SharedRegion region, uint index) => region.Address + SlotsAt + ((nint)(index % Slots) * sizeof(T));
}

/// <summary>Sleeping until a word of shared memory changes.</summary>
internal static unsafe partial class Futex
{
    private const int WaitOperation = 0, WakeOperation = 1;

    // What is missed between looking and sleeping is seen after so long.
    private const long PatienceNanoseconds = 200_000_000;

    private static readonly long Call = RuntimeInformation.ProcessArchitecture == Architecture.X64 ? 202 : 98;

    /// <summary>Sleeps while the word has this value, for a fifth of a second at most; may wake for no reason.</summary>
    public static void Wait(nint word, uint value)
    {
        var patience = new TimeSpec(0, PatienceNanoseconds);
        _ = syscall(Call, word, WaitOperation, value, &patience, 0, 0);
    }

    /// <summary>Wakes all who sleep on the word, in whichever process.</summary>
    public static void Wake(nint word) => _ = syscall(Call, word, WakeOperation, int.MaxValue, null, 0, 0);

    [LibraryImport("libc")]
    private static partial long syscall(long number, nint word, long operation, long value, TimeSpec* patience, nint second, long third);

    private readonly record struct TimeSpec(long Seconds, long Nanoseconds);
}
