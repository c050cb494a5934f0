using System.Text;

namespace DistTrain.Data;

/// <summary>
/// Reads records of delimited text one at a time: quotes as in RFC 4180 (a quoted field may hold delimiters, doubled
/// quotes and line ends), line ends of any kind, empty lines skipped. With a space as delimiter any run of blanks
/// separates, and blanks at either end of a line don't count.
/// </summary>
internal sealed class CsvReader
{
    /// <summary>No record may be longer: a file that is one endless line must not take all memory.</summary>
    public const int MaximumRecord = 1 << 24;

    private const int End = -1;

    private readonly DataFile _file;
    private readonly char _delimiter;
    private readonly bool _blanks;
    private readonly Decoder _decoder = new UTF8Encoding(encoderShouldEmitUTF8Identifier: false).GetDecoder();
    private readonly byte[] _bytes = new byte[1 << 15];
    private readonly char[] _chars = new char[(1 << 15) + 1];
    private readonly ContentHasher? _hasher;
    private readonly List<int> _ends = [];
    private char[] _text = new char[256];
    private int _textLength;
    private int _at;
    private int _length;
    private long _line = 1;
    private bool _started;

    public CsvReader(DataFile file, char delimiter, ContentHasher? hasher = null)
    {
        _file = file;
        _delimiter = delimiter;
        _blanks = delimiter == ' ';
        _hasher = hasher;
    }

    /// <summary>The line, from 1, on which the current record begins.</summary>
    public long Line { get; private set; }

    /// <summary>Fields of the current record.</summary>
    public int FieldCount => _ends.Count;

    /// <summary>A field of the current record, unquoted; valid until the next <see cref="Read"/>.</summary>
    public ReadOnlySpan<char> Field(int i)
    {
        int start = i == 0 ? 0 : _ends[i - 1];
        return _text.AsSpan(start, _ends[i] - start);
    }

    /// <summary>Goes to the next record; false at the end of the file.</summary>
    public bool Read()
    {
        int c = Peek();
        while (c is '\n' or '\r' || (_blanks && c is ' ' or '\t'))
        {
            Next();
            if (c == '\n' || (c == '\r' && Peek() != '\n')) _line++;
            c = Peek();
        }

        if (c == End) return false;
        Line = _line;
        _ends.Clear();
        _textLength = 0;
        while (true)
        {
            ReadField();
            c = Next();
            if (_blanks)
            {
                while (Peek() is ' ' or '\t') Next();
                if (c is ' ' or '\t' && Peek() is '\n' or '\r' or End) c = Next();
            }

            if (c == End) return true;
            if (c is '\n' or '\r')
            {
                if (c == '\r' && Peek() == '\n') Next();
                _line++;
                return true;
            }
        }
    }

    // Leaves what ended the field (delimiter, line end or end of file) to be read.
    private void ReadField()
    {
        if (Peek() == '"') ReadQuoted();
        else
        {
            while (!EndsField(Peek())) Append((char)Next());
        }

        _ends.Add(_textLength);
    }

    private void ReadQuoted()
    {
        Next();
        while (true)
        {
            int c = Next();
            if (c == End) throw Bad($"field {FieldCount + 1} opens a quote that is never closed");
            if (c == '"')
            {
                if (Peek() != '"') break;
                Next();
            }
            else if (c == '\n' || (c == '\r' && Peek() != '\n'))
            {
                _line++;
            }

            Append((char)c);
        }

        if (!EndsField(Peek())) throw Bad($"field {FieldCount + 1} has text after its closing quote; a quote within a quoted field is written twice");
    }

    private bool EndsField(int c) => c == _delimiter || c is '\n' or '\r' or End || (_blanks && c == '\t');

    private void Append(char c)
    {
        if (_textLength == _text.Length)
        {
            if (_textLength >= MaximumRecord) throw Bad($"a record of more than {MaximumRecord} characters");
            Array.Resize(ref _text, _textLength * 2);
        }

        _text[_textLength++] = c;
    }

    private int Peek() => _at < _length || Refill() ? _chars[_at] : End;

    private int Next() => _at < _length || Refill() ? _chars[_at++] : End;

    private bool Refill()
    {
        do
        {
            int read = _file.Read(_bytes);
            _hasher?.AppendContent(_bytes.AsSpan(0, read));
            _at = 0;
            _length = _decoder.GetChars(_bytes.AsSpan(0, read), _chars, flush: read == 0);
            if (!_started && _length > 0)
            {
                _started = true;
                if (_chars[0] == '\uFEFF') _at = 1;
            }

            if (read == 0) return _at < _length;
        }
        while (_at >= _length);
        return true;
    }

    private Core.DistTrainException Bad(string message) => new(Core.ExitCode.BadData, $"{_file.Path}:{Line}: {message}");
}
