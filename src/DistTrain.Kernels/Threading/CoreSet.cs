using System.Globalization;
using System.Runtime.InteropServices;

namespace DistTrain.Kernels;

/// <summary>
/// Processor cores, by the operating system's numbers, in an order that says which thread gets which. Pinning works on
/// Linux, by sched_setaffinity; elsewhere it is refused, since neither macOS nor a processor group of Windows has it in
/// this form.
/// </summary>
public sealed unsafe partial class CoreSet
{
    private const int MaskWords = 64;

    private readonly int[] _cores;

    /// <summary>Names the cores; one may be named more than once, for threads that share it.</summary>
    /// <exception cref="ArgumentException">There is none, or a number is negative or too large.</exception>
    public CoreSet(params ReadOnlySpan<int> cores)
    {
        if (cores.IsEmpty) throw new ArgumentException("A core set names at least one core.", nameof(cores));
        foreach (int core in cores)
        {
            if (core is < 0 or >= MaskWords * 64)
                throw new ArgumentException($"Core {core} is out of range; cores go from 0 to {(MaskWords * 64) - 1}.", nameof(cores));
        }
        _cores = cores.ToArray();
    }

    /// <summary>Whether this operating system can pin threads.</summary>
    public static bool Supported => OperatingSystem.IsLinux();

    /// <summary>How many cores the set names.</summary>
    public int Count => _cores.Length;

    /// <summary>The core of thread <paramref name="index"/>.</summary>
    public int this[int index] => _cores[index];

    /// <summary>Whether the set names a core.</summary>
    public bool Contains(int core) => Array.IndexOf(_cores, core) >= 0;

    /// <summary>The cores that the calling thread may run on.</summary>
    /// <exception cref="PlatformNotSupportedException">Not on Linux.</exception>
    public static CoreSet OfCurrentThread()
    {
        ThrowUnlessSupported();
        ulong* mask = stackalloc ulong[MaskWords];
        new Span<ulong>(mask, MaskWords).Clear();
        if (GetAffinity(0, MaskWords * sizeof(ulong), mask) < 0)
            throw new InvalidOperationException($"The system does not tell this thread's cores (error {Marshal.GetLastPInvokeError()}).");
        var cores = new List<int>();
        for (int core = 0; core < MaskWords * 64; core++)
            if ((mask[core / 64] >> (core % 64) & 1) != 0) cores.Add(core);
        return new CoreSet([.. cores]);
    }

    /// <summary>Lets the calling thread run on one core only.</summary>
    /// <exception cref="PlatformNotSupportedException">Not on Linux.</exception>
    /// <exception cref="ArgumentException">This process may not use the core, or the machine lacks it.</exception>
    public static void PinCurrentThread(int core)
    {
        if (!new CoreSet(core).TryConfine())
            throw new ArgumentException($"A thread can't be pinned to core {core}: this process may use {OfCurrentThread()}.", nameof(core));
    }

    /// <summary>Lets the calling thread run on these cores only; threads and processes that it starts inherit that.</summary>
    /// <exception cref="PlatformNotSupportedException">Not on Linux.</exception>
    /// <exception cref="InvalidOperationException">This process may use none of them.</exception>
    public void ConfineCurrentThread()
    {
        if (!TryConfine()) throw new InvalidOperationException($"A thread can't run on cores {this}: this process may use {OfCurrentThread()}.");
    }

    /// <summary>Reads what a person writes: numbers and ranges, as in "0-3,6".</summary>
    /// <exception cref="FormatException">The text is no such list.</exception>
    public static CoreSet Parse(string text)
    {
        ArgumentNullException.ThrowIfNull(text);
        var cores = new List<int>();
        foreach (string part in text.Split(','))
        {
            string[] ends = part.Trim().Split('-');
            if (ends.Length > 2 || !TryNumber(ends[0], out int first) || !TryNumber(ends[^1], out int last) || last < first)
                throw new FormatException($"\"{text}\" is no list of cores; write numbers and ranges, as in 0-3,6.");
            for (int core = first; core <= last; core++) cores.Add(core);
        }
        return new CoreSet([.. cores]);
    }

    /// <inheritdoc/>
    public override string ToString() => string.Join(',', _cores);

    private bool TryConfine()
    {
        ThrowUnlessSupported();
        ulong* mask = stackalloc ulong[MaskWords];
        new Span<ulong>(mask, MaskWords).Clear();
        foreach (int core in _cores) mask[core / 64] |= 1UL << (core % 64);
        return SetAffinity(0, MaskWords * sizeof(ulong), mask) >= 0;
    }

    private static bool TryNumber(string text, out int number) =>
        int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out number) && number < MaskWords * 64;

    private static void ThrowUnlessSupported()
    {
        if (!Supported) throw new PlatformNotSupportedException("Threads can be pinned to cores on Linux only; leave the cores out.");
    }

    [LibraryImport("libc", EntryPoint = "sched_setaffinity", SetLastError = true)]
    private static partial int SetAffinity(int thread, nuint size, ulong* mask);

    [LibraryImport("libc", EntryPoint = "sched_getaffinity", SetLastError = true)]
    private static partial int GetAffinity(int thread, nuint size, ulong* mask);
}
