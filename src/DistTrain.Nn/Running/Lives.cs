using System.Collections.Immutable;

namespace DistTrain.Nn;

/// <summary>When each value, gradient and other buffer of a step holds something, as its schedule says.</summary>
internal sealed class Lives
{
    private readonly StepSchedule _schedule;
    private readonly int _maxRows;
    private readonly ArenaRequest[] _values;
    private readonly Life?[] _gradients;
    private readonly List<ArenaRequest> _extra = [];

    public Lives(StepSchedule schedule, int maxRows)
    {
        (_schedule, _maxRows) = (schedule, maxRows);
        LayerGraph graph = schedule.Graph;
        _values = new ArenaRequest[graph.ValueCount];
        _gradients = new Life?[graph.ValueCount];
        for (int value = 0; value < graph.ValueCount; value++)
        {
            if (schedule.Storage[value] == value) _values[value] = new ArenaRequest((long)maxRows * graph.Width(value), LivesOf(value));
        }

        for (int value = 0; value < graph.ValueCount; value++)
        {
            if (schedule.Storage[value] == value && graph.Rounds(value)) Pack(value);
        }

        for (int i = 0; i < graph.Nodes.Count; i++)
        {
            if (graph.NeedsGradient(graph.Nodes[i].Output)) Gradient(graph.Nodes[i].Output, schedule.Back(i));
            foreach (int input in graph.Nodes[i].Inputs.Where(graph.NeedsGradient)) Gradient(input, schedule.Back(i));
        }

        if (graph.NeedsGradient(graph.Output)) Gradient(graph.Output, schedule.Loss);
    }

    /// <summary>The values that lie in 16 bits between forward and backward.</summary>
    public List<PackedValue> Packed { get; } = [];

    /// <summary>Asks for another buffer; gives its request, -1 for none.</summary>
    public int Extra(long length, params ImmutableArray<Life> lives)
    {
        if (length == 0) return -1;
        _extra.Add(new ArenaRequest(length, lives));
        return _values.Length + _gradients.Length + _extra.Count - 1;
    }

    public int ValueRequest(int value) => _schedule.Storage[value];

    public int GradientRequest(int value) => _gradients[_schedule.Storage[value]] is null ? -1 : _values.Length + _schedule.Storage[value];

    public List<ArenaRequest> Requests()
    {
        LayerGraph graph = _schedule.Graph;
        return
        [
            .. _values,
            .. _gradients.Select((life, value) => life is { } l ? new ArenaRequest((long)_maxRows * graph.Width(value), l.First, l.Last) : default),
            .. _extra,
        ];
    }

    // What runs again is not packed: its memory is free between its two runs as it is.
    private void Pack(int storage)
    {
        int producer = _schedule.Producer[storage];
        if (producer < 0 || _values[storage].Lives is not [var life] || life.Last <= _schedule.Loss || life.First != producer || _schedule.Again(producer) >= 0) return;
        int after = producer, before = life.Last;
        foreach (int moment in Uses(storage, producer))
        {
            if (moment < _schedule.Loss) after = Math.Max(after, moment);
            else before = Math.Min(before, moment);
        }

        long length = _values[storage].Length;
        _values[storage] = new ArenaRequest(length, [new Life(producer, after), new Life(before, life.Last)]);
        Packed.Add(new PackedValue(storage, after, before, Extra((length + 1) / 2, new Life(after, before))));
    }

    private void Gradient(int value, int moment)
    {
        int storage = _schedule.Storage[value];
        Life old = _gradients[storage] ?? new(moment, moment);
        _gradients[storage] = new(Math.Min(old.First, moment), Math.Max(old.Last, moment));
    }

    // From each moment at which it is written to the last one before the next at which it is read.
    private ImmutableArray<Life> LivesOf(int storage)
    {
        LayerGraph graph = _schedule.Graph;
        int producer = _schedule.Producer[storage];
        if (producer < 0 || storage == _schedule.Storage[graph.Output]) return [new(-1, _schedule.End)];
        if (graph.OutputLengths is { } lengths && _schedule.Storage[lengths] == storage) return [new(-1, _schedule.End)];
        int again = _schedule.Again(producer);
        var life = new Life(producer, producer);
        var second = new Life(again, again);
        foreach (int moment in Uses(storage, producer))
        {
            if (again < 0 || moment < again) life = life with { Last = Math.Max(life.Last, moment) };
            else second = second with { Last = Math.Max(second.Last, moment) };
        }

        // What is read on the way back before its own node runs again stays until then: that run writes the same once more.
        if (again < 0) return [life];
        return life.Last > _schedule.Loss ? [life with { Last = second.Last }] : [life, second];
    }

    private IEnumerable<int> Uses(int storage, int producer)
    {
        LayerGraph graph = _schedule.Graph;
        if (graph.Nodes[producer].Layer.BackwardReadsOutput) yield return _schedule.Back(producer);
        foreach (int reader in _schedule.Readers[storage])
        {
            yield return reader;
            if (_schedule.Again(reader) >= 0) yield return _schedule.Again(reader);
            if (graph.Nodes[reader].Layer.BackwardReadsInput) yield return _schedule.Back(reader);
        }
    }
}
