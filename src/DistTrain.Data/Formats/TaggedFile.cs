using System.Text;
using DistTrain.Core;

namespace DistTrain.Data;

/// <summary>
/// Sentences of tagged words: a line for each word, <c>word TAB tag</c>, and an empty line between sentences.
/// </summary>
internal sealed class TaggedFile
{
    private TaggedFile(string path, string hash) => (Path, Hash) = (path, hash);

    public string Path { get; }

    /// <summary>SHA-256 over the bytes of the file.</summary>
    public string Hash { get; }

    /// <summary>All words, sentence after sentence, with the line of each for messages.</summary>
    public List<(string Word, string Tag, int Line)> Words { get; } = [];

    /// <summary>Where each sentence begins in <see cref="Words"/>, and their number at the end.</summary>
    public List<int> Starts { get; } = [0];

    /// <summary>Reads a file.</summary>
    /// <exception cref="DistTrainException">Naming file and line: a line of another form, no UTF-8, or nothing at all.</exception>
    public static TaggedFile Read(string path)
    {
        TextFile text = TextFile.Read(path);
        var file = new TaggedFile(path, text.Hash);
        var line = new StringBuilder();
        int number = 0;
        foreach (int character in text.Characters)
        {
            if (character != '\n') line.Append(new Rune(character).ToString());
            else file.AddLine(line, ++number);
        }

        file.AddLine(line, ++number);
        file.EndSentence();
        return file.Words.Count > 0 ? file : throw new DistTrainException(ExitCode.BadData, $"{path}: no words; expected lines of 'word TAB tag', and an empty line after each sentence");
    }

    private void AddLine(StringBuilder line, int number)
    {
        string content = line.ToString().TrimEnd('\r');
        line.Clear();
        if (content.Length == 0)
        {
            EndSentence();
            return;
        }

        int tab = content.IndexOf('\t', StringComparison.Ordinal);
        if (tab <= 0 || tab == content.Length - 1 || content.IndexOf('\t', tab + 1) >= 0)
        {
            throw new DistTrainException(ExitCode.BadData, $"{Path}:{number}: '{content}'; expected a word, a tab and its tag, or an empty line");
        }

        Words.Add((content[..tab], content[(tab + 1)..], number));
    }

    private void EndSentence()
    {
        if (Words.Count > Starts[^1]) Starts.Add(Words.Count);
    }
}
