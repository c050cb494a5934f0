using System.Globalization;
using System.Text;

namespace DistTrain.Fuzz;

/// <summary>Damage to text: numbers, lines and words change, nests grow deep, runs long.</summary>
internal static class TextMutator
{
    /// <summary>Some changes, each of one kind.</summary>
    /// <param name="random">Chooses.</param>
    /// <param name="text">What is changed.</param>
    /// <param name="words">Words of the format, which may be put anywhere.</param>
    /// <param name="most">Characters that a run or a nest may come to.</param>
    public static string Mutate(FuzzRandom random, string text, IReadOnlyList<string> words, int most = 2000)
    {
        var builder = new StringBuilder(text);
        for (int changes = 1 + random.Length(6); changes > 0; changes--) Change(random, builder, words, most);
        return builder.ToString();
    }

    private static void Change(FuzzRandom random, StringBuilder text, IReadOnlyList<string> words, int most)
    {
        int at = random.Next(text.Length + 1), length = Math.Min(random.Length(text.Length), text.Length - at);
        switch (random.Next(10))
        {
            case 0 or 1:
                Renumber(random, text, at);
                break;
            case 2:
                text.Insert(at, random.Pick(words));
                break;
            case 3:
                text.Remove(at, length);
                break;
            case 4:
                text.Insert(random.Next(text.Length + 1), text.ToString(at, length));
                break;
            case 5:
                (int start, int end) = Line(text, at);
                string line = text.ToString(start, end - start);
                if (random.Chance(0.5)) text.Remove(start, end - start);
                if (random.Chance(0.7)) text.Insert(Line(text, random.Next(text.Length + 1)).Start, line);
                break;
            case 6:
                text.Insert(at, random.Pick(words).PadRight(1), random.Chance(0.9) ? random.Next(1, 6) : random.Next(1, most));
                break;
            case 7 when text.Length > 0 && length > 0:
                text[at] = (char)random.Next(random.Chance(0.9) ? 128 : 0x10000);
                break;
            case 8 when random.Chance(0.3):
                text.Length = at;
                break;
            case 9:
                string word = random.Pick(words);
                text.Replace(word, random.Pick(words), at, length);
                break;
        }

        // Doublings of doublings end somewhere.
        if (text.Length > 50 * most) text.Length = 50 * most;
    }

    private static void Renumber(FuzzRandom random, StringBuilder text, int at)
    {
        while (at < text.Length && !char.IsAsciiDigit(text[at])) at++;
        int end = at;
        while (end < text.Length && char.IsAsciiDigit(text[end])) end++;
        if (end == at) return;
        text.Remove(at, end - at).Insert(at, random.Next(8) switch
        {
            0 => "1e999",
            1 => "NaN",
            2 => "-0",
            3 => "0.5",
            4 => new string('9', random.Next(1, 40)),
            _ => random.Number(64, 0.4).ToString(CultureInfo.InvariantCulture),
        });
    }

    private static (int Start, int End) Line(StringBuilder text, int at)
    {
        int start = at, end = at;
        while (start > 0 && text[start - 1] != '\n') start--;
        while (end < text.Length && text[end++] != '\n')
        {
        }

        return (start, end);
    }
}
