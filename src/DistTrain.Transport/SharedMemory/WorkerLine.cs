using DistTrain.Core.Actors;
using DistTrain.Core.Channels;
using DistTrain.Core.Memory;
using DistTrain.Transport.Grpc;
using Wire = DistTrain.Transport.Proto.V1;

namespace DistTrain.Transport.SharedMemory;

/// <summary>A server's end of the line to one worker: a thread of its own hands over what the worker announces.</summary>
internal sealed class WorkerLine : IDisposable
{
    private readonly IParameterServerPort _port;
    private readonly SharedLine<LineMessage> _line;
    private readonly SharedRegions _regions = new();
    private readonly CancellationTokenSource _broken;
    private bool _begun;

    private WorkerLine(IParameterServerPort port, SharedLine<LineMessage> line, CancellationToken ending)
    {
        (_port, _line) = (port, line);
        _broken = CancellationTokenSource.CreateLinkedTokenSource(ending);
        Broken = _broken.Token;
    }

    /// <summary>Fires when the call ends, or the line can't be gone on with.</summary>
    public CancellationToken Broken { get; }

    /// <summary>What broke the line; null when nothing did.</summary>
    public Exception? Cause { get; private set; }

    /// <summary>How the worker finds this end.</summary>
    public Wire.SharedBytes Name => SharedRegions.Name(_line.Own, 0, SharedLine<LineMessage>.Length);

    /// <summary>Joins the line that a worker offers; null where memory can't be shared.</summary>
    public static WorkerLine? TryJoin(IParameterServerPort port, SharedRegionName offered, CancellationToken ending)
    {
        if (offered.Length != SharedLine<LineMessage>.Length || SharedRegion.Open(offered) is not { } theirs) return null;
        if (SharedLine<LineMessage>.Create() is not { } line)
        {
            theirs.Dispose();
            return null;
        }

        line.Attach(theirs);
        return new WorkerLine(port, line, ending);
    }

    /// <summary>Begins to read.</summary>
    public void Begin()
    {
        _begun = true;
        new Thread(Read) { IsBackground = true, Name = "segments" }.Start();
    }

    /// <summary>Announces weights; false when there is no room.</summary>
    public bool TryWrite(in LineMessage message) => _line.TryWrite(message);

    /// <summary>Closes the line. What it brought stays where it is until it is let go.</summary>
    public void Dispose()
    {
        _line.Dispose();
        if (!_begun) _regions.Close();
        _broken.Dispose();
    }

    private void Read()
    {
        LentThread.Lend();
        try
        {
            while (_line.Read(out LineMessage message)) Hand(message);
        }
        catch (OperationCanceledException)
        {
            // The call has ended.
        }
        catch (Exception e)
        {
            Cause = e;
            Break();
        }
        finally
        {
            _regions.Close();
        }
    }

    private void Hand(in LineMessage message)
    {
        SegmentHeader segment = message.Segment;
        ISegmentBuffer? lent = null;
        if (segment.Kind == SegmentKind.Gradient)
        {
            (_, NativeSpan place) = _regions.Find(message.Region, message.Offset, message.Bytes)
                ?? throw new GrpcException(GrpcStatusCode.InvalidArgument, $"the worker's shared memory can't be mapped (process {message.Pid}, {message.RegionLength} bytes)");
            if (!_port.Wants(segment, place.Length)) return;
            lent = _regions.Lend(place);
        }

        ValueTask handing = _port.CompleteSegmentAsync(segment, lent, Broken);
        if (!handing.IsCompletedSuccessfully) handing.AsTask().GetAwaiter().GetResult();
    }

    private void Break()
    {
        try
        {
            _broken.Cancel();
        }
        catch (ObjectDisposedException)
        {
            // The call has ended already.
        }
    }
}
