using DistTrain.Core.Messages;

namespace DistTrain.Training.Coordinator;

/// <content>When checkpoints are due by the clock on the wall, and what becomes of them on a disk that can't keep up.</content>
public sealed partial class Coordinator
{
    // A step waits no longer for the disk than this, where two checkpoints are on their way already.
    private static readonly TimeSpan DiskPatience = TimeSpan.FromSeconds(2);

    // After so long it is told that a checkpoint takes its time.
    private static readonly TimeSpan SlowDisk = TimeSpan.FromSeconds(10);

    private readonly Dictionary<long, long> _onTheirWay = [];
    private long _savedAt;
    private long _toldOf = -1;
    private long _leftOut;

    // A new term begins, and with it a new interval.
    private void BeginSaving()
    {
        _savedAt = _time.GetTimestamp();
        _onTheirWay.Clear();
    }

    private void Expect(long version)
    {
        _onTheirWay[version] = _time.GetTimestamp();
        _expectCheckpoint(_term, version, _judged.ToBytes());
    }

    private void Arrived(long version)
    {
        _onTheirWay.Remove(version);
        if (_leftOut == 0 || _onTheirWay.Count > 0) return;
        _events.Noted($"checkpoints are being written again; {_leftOut} {(_leftOut == 1 ? "was" : "were")} left out");
        _leftOut = 0;
    }

    private void LookAtDisk()
    {
        if (_plan.CheckpointPeriod is { } period && _onTheirWay.Count == 0 && _time.GetElapsedTime(_savedAt) >= period)
        {
            _savedAt = _time.GetTimestamp();
            _clock.SaveNext();
        }

        if (_onTheirWay.Count == 0) return;
        (long version, long since) = _onTheirWay.MinBy(v => v.Value);
        if (_time.GetElapsedTime(since) >= SlowDisk && version > _toldOf && version <= _clock.Committed)
        {
            _toldOf = version;
            _events.Warn($"the checkpoint at step {version} has been on its way to the disk for {_time.GetElapsedTime(since).TotalSeconds:0} s; {(version == _clock.End ? "the job ends when it is there" : "steps go on without it")}");
        }

        if (_clock.Grant()) SendClock();
    }

    private bool LeavesOut(long version)
    {
        if (_onTheirWay.Count == 0) return false;
        (long oldest, long since) = _onTheirWay.MinBy(v => v.Value);
        if (_time.GetElapsedTime(since) < DiskPatience) return false;
        if (_leftOut++ == 0) _events.Warn($"the checkpoint at step {version} is left out: that at step {oldest} has been on its way to the disk for {_time.GetElapsedTime(since).TotalSeconds:0} s");
        return true;
    }
}
