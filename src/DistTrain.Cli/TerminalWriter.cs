using System.Text;

namespace DistTrain.Cli;

/// <summary>
/// Output to a terminal, which may be closed while the program goes on to save: what is said from then on is heard by
/// nobody, and is no error. Files and pipes are another matter, so they don't go through this.
/// </summary>
internal sealed class TerminalWriter(TextWriter terminal) : TextWriter(terminal.FormatProvider)
{
    public override Encoding Encoding => terminal.Encoding;

    public override void Write(char value) => Try(() => terminal.Write(value));

    public override void Write(char[] buffer, int index, int count) => Try(() => terminal.Write(buffer, index, count));

    public override void Write(string? value) => Try(() => terminal.Write(value));

    public override void WriteLine(string? value) => Try(() => terminal.WriteLine(value));

    public override void Flush() => Try(terminal.Flush);

    private static void Try(Action write)
    {
        try
        {
            write();
        }
        catch (IOException)
        {
            // The terminal is gone.
        }
    }
}
