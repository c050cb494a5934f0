namespace DistTrain.Cli.Tests;

public sealed class TerminalWriterTests
{
    [Fact]
    public void Write_TerminalIsOpen_HandsEverythingOn()
    {
        var terminal = new StringWriter { NewLine = "\n" };
        Say(new TerminalWriter(terminal) { NewLine = "\n" });
        Assert.Equal("ab7\nc\nd", terminal.ToString());
    }

    [Fact]
    public void Write_TerminalIsClosed_IsNoError() => Say(new TerminalWriter(new ClosedWriter()));

    private static void Say(TerminalWriter writer)
    {
        writer.Write('a');
        writer.Write("b");
        writer.WriteLine(7);
        writer.WriteLine("c");
        writer.Write(['d']);
        writer.Flush();
    }

    private sealed class ClosedWriter : StringWriter
    {
        public override void Write(char value) => throw new IOException("Input/output error");

        public override void Write(string? value) => throw new IOException("Input/output error");

        public override void Write(char[] buffer, int index, int count) => throw new IOException("Input/output error");

        public override void WriteLine(string? value) => throw new IOException("Input/output error");

        public override void Flush() => throw new IOException("Input/output error");
    }
}
