using System.Collections;
using System.Globalization;

namespace DistTrain.Data;

/// <summary>Classes that are called by their number. Names are made when they are asked for: one high label would make a million.</summary>
internal sealed class NumberedNames(int count) : IReadOnlyList<string>
{
    public int Count => count;

    public string this[int index] => index >= 0 && index < count
        ? index.ToString(CultureInfo.InvariantCulture)
        : throw new ArgumentOutOfRangeException(nameof(index), index, $"there are {count} classes");

    public IEnumerator<string> GetEnumerator()
    {
        for (int i = 0; i < count; i++) yield return this[i];
    }

    IEnumerator IEnumerable.GetEnumerator() => GetEnumerator();
}
