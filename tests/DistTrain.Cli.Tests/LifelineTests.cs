using System.Text;
using DistTrain.Cli.Launching;

namespace DistTrain.Cli.Tests;

public sealed class LifelineTests
{
    [Fact]
    public async Task Attach_AfterLinesCame_DeliversThemInOrder()
    {
        var ended = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        using var lifeline = Lifeline.Start(Lines("token abc", "note first", "gone 137 worker (pid 7) was killed", "note last"), ended.SetResult);
        await ended.Task;
        List<string> heard = [];
        lifeline.Attach(heard.Add, (code, text, again) => heard.Add($"{code}: {text}{(again ? " again" : "")}"));
        Assert.Equal(["first", "137: worker (pid 7) was killed", "last"], heard);
        Assert.Equal("abc", await lifeline.Token);
    }

    [Fact]
    public async Task Attach_BeforeLinesCome_DeliversEachOnce()
    {
        var ended = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        using var input = new System.IO.Pipes.AnonymousPipeServerStream(System.IO.Pipes.PipeDirection.Out);
        using var output = new System.IO.Pipes.AnonymousPipeClientStream(System.IO.Pipes.PipeDirection.In, input.ClientSafePipeHandle);
        using var lifeline = Lifeline.Start(output, ended.SetResult);
        List<string> heard = [];
        lifeline.Attach(heard.Add, (code, text, again) => heard.Add($"{code}: {text}{(again ? " again" : "")}"));
        await input.WriteAsync("gone 3 a\nnote b\ngone x c\n"u8.ToArray());
        input.Dispose();
        await ended.Task;
        Assert.Equal(["3: a", "b"], heard);
    }

    private static MemoryStream Lines(params string[] lines) => new(Encoding.UTF8.GetBytes(string.Join('\n', lines) + "\n"));
}
