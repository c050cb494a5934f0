using System.IO.Pipes;
using DistTrain.Core.Memory;

namespace DistTrain.Core.Tests.Memory;

/// <summary>Memory that processes share. Linux only; elsewhere there is none, and nothing to test.</summary>
public sealed unsafe class SharedRegionTests
{
    [Fact]
    public void Open_RegionOfThisHost_ShowsWhatItsMakerWrites()
    {
        if (!SharedRegion.IsSupported) return;
        using SharedRegion made = SharedRegion.Create(10_000)!;
        using SharedRegion seen = SharedRegion.Open(made.Name)!;
        Assert.NotEqual(made.Address, seen.Address);
        ((byte*)made.Address)[9_999] = 7;
        Assert.Equal(7, ((byte*)seen.Address)[9_999]);
        Assert.Equal(10_000, seen.Length);
    }

    [Fact]
    public void Open_AfterItsMakerLetGo_KeepsWhatWasThere()
    {
        if (!SharedRegion.IsSupported) return;
        SharedRegion made = SharedRegion.Create(100)!;
        *(int*)made.Address = 5;
        using SharedRegion seen = SharedRegion.Open(made.Name)!;
        SharedRegionName name = made.Name;
        made.Dispose();
        Assert.Equal(5, *(int*)seen.Address);
        Assert.Null(SharedRegion.Open(name));
    }

    [Fact]
    public void Open_AnythingElse_IsRefused()
    {
        if (!SharedRegion.IsSupported) return;
        using SharedRegion made = SharedRegion.Create(100)!;
        SharedRegionName name = made.Name;
        Assert.Null(SharedRegion.Open(name with { Nonce = name.Nonce + 1 }));
        Assert.Null(SharedRegion.Open(name with { Length = 100_000 }));
        Assert.Null(SharedRegion.Open(name with { Length = -1 }));
        Assert.Null(SharedRegion.Open(name with { Pid = int.MaxValue }));
        Assert.Null(SharedRegion.Open(name with { Pid = 0 }));
        string path = Path.GetTempFileName();
        try
        {
            // A plain file could be cut short under whoever has it mapped.
            using FileStream file = File.Open(path, FileMode.Open, FileAccess.ReadWrite);
            file.SetLength(8192);
            Assert.Null(SharedRegion.Open(name with { File = (int)file.SafeFileHandle.DangerousGetHandle() }));
        }
        finally
        {
            File.Delete(path);
        }
    }

    [Fact]
    public void Find_AddressWithin_GivesRegionAndOffset()
    {
        if (!SharedRegion.IsSupported) return;
        SharedRegion made = SharedRegion.Create(100)!;
        nint address = made.Address;
        Assert.Equal((made, 40L), SharedRegion.Find(address + 40));
        Assert.Null(SharedRegion.Find(address + 100));
        made.Dispose();
        Assert.Null(SharedRegion.Find(address + 40));
    }

    [Fact]
    public void Overlay_OfSeveralRegions_ShowsWholePagesAndKeepsItsOwnEnds()
    {
        if (!SharedRegion.IsSupported) return;
        int page = Environment.SystemPageSize;
        using OverlayMemory overlay = OverlayMemory.Create(16 * page / sizeof(float))!;
        using SharedRegion made = SharedRegion.Create(8 * page)!;
        byte* own = (byte*)overlay.Pointer, theirs = (byte*)made.Address;
        // Bytes from 2 pages and 64 on to 6 pages and 128: pages 3, 4 and 5 are whole.
        long start = (2 * page) + 64, bytes = (4 * page) + 64;
        Assert.Equal((3L * page, 6L * page), OverlayMemory.WholePages(start, start + bytes));
        new Span<byte>(theirs, 8 * page).Fill(9);
        Assert.False(overlay.TryShow(made, 60, start, bytes));
        Assert.False(overlay.TryShow(made, 64, 15 * page, 2 * page));
        Assert.True(overlay.TryShow(made, 64, start, bytes));
        Assert.Equal((0, 9, 9, 0), (own[(3 * page) - 1], own[3 * page], own[(6 * page) - 1], own[6 * page]));
        theirs[page] = 4;
        Assert.Equal(4, own[3 * page]);
        own[(3 * page) - 1] = 1;
        overlay.Hide(start, bytes);
        Assert.Equal((1, 0), (own[(3 * page) - 1], own[3 * page]));
        own[3 * page] = 2;
        Assert.Equal(4, theirs[page]);
    }

    [Fact]
    public void Open_OfAPipeThatNobodyWritesTo_ReturnsAtOnce()
    {
        if (!SharedRegion.IsSupported) return;
        using SharedRegion made = SharedRegion.Create(100)!;
        using var pipe = new AnonymousPipeServerStream(PipeDirection.In);
        pipe.DisposeLocalCopyOfClientHandle();
        Assert.Null(SharedRegion.Open(made.Name with { File = (int)pipe.SafePipeHandle.DangerousGetHandle() }));
    }
}
