namespace DistTrain.Data;

/// <summary>The <c>data</c> part of a job: where the examples come from and how they are read. Keys that have no
/// meaning for the source are refused by <see cref="DatasetLoader"/>.</summary>
public sealed record DataSource
{
    /// <summary>digits, mnist, fashion-mnist, idx, cifar-10, cifar-100, images, numpy, csv, text or tagged. Null is found out from <see cref="Path"/>, and is the
    /// embedded digits where there is no path either.</summary>
    public string? Name { get; init; }

    /// <summary>The file, or for IDX, CIFAR, images and NumPy the directory with the usual files; a leading ~ is the home directory.</summary>
    public string? Path { get; init; }

    /// <summary>The test examples, where they are in a file or directory of their own.</summary>
    public string? TestPath { get; init; }

    /// <summary>idx: the labels of a <see cref="Path"/> that is a file of images, where its name doesn't tell; numpy: the
    /// array of labels or targets of a <see cref="Path"/> that is one array.</summary>
    public string? LabelsPath { get; init; }

    /// <summary>csv: whether the first record names the columns; null looks.</summary>
    public bool? Header { get; init; }

    /// <summary>csv: the column of the class label, by name or by index from 0 (-1 is the last); null is the last.</summary>
    public string? Label { get; init; }

    /// <summary>csv: columns of real targets, in place of a label.</summary>
    public IReadOnlyList<string> Targets { get; init; } = [];

    /// <summary>csv: columns that are no features.</summary>
    public IReadOnlyList<string> Ignore { get; init; } = [];

    /// <summary>csv: comma, semicolon, tab or space, or the character; null looks.</summary>
    public string? Delimiter { get; init; }

    /// <summary>Number of classes, where it is not the number found.</summary>
    public int? Classes { get; init; }

    /// <summary>Whether features get mean 0 and deviation 1 over the training part: each column of a csv or feature of
    /// a numpy row, all pixels of images together.</summary>
    public bool Standardize { get; init; }

    /// <summary>What features are multiplied by; null is 1/16 for the digits, 1/255 for bytes and 1 for all else. Has no
    /// effect together with <see cref="Standardize"/>.</summary>
    public double? Scale { get; init; }

    /// <summary>The share of the examples held out, where there is no test file; null is one fifth, of a text (its end) a
    /// tenth.</summary>
    public double? TestFraction { get; init; }

    /// <summary>text: characters of an example; null is 64.</summary>
    public int? Context { get; init; }

    /// <summary>text: characters from the beginning of one training example to that of the next; null is 1.</summary>
    public int? Stride { get; init; }

    /// <summary>text: what an id stands for; "characters" is all there is, and null.</summary>
    public string? Vocabulary { get; init; }

    /// <summary>tagged: positions of an example, which shorter sentences are padded to and longer ones cut into; null is
    /// 64.</summary>
    public int? Length { get; init; }

    /// <summary>tagged: words that the training file has less often are unknown; null is 2.</summary>
    public int? MinCount { get; init; }

    /// <summary>tagged: how many characters at a word's beginning are features of their own; null is 0.</summary>
    public int? Prefix { get; init; }

    /// <summary>tagged: the same for its end.</summary>
    public int? Suffix { get; init; }

    /// <summary>What training images go through each time they are used, in order.</summary>
    public IReadOnlyList<AugmentSpec> Augment { get; init; } = [];

    /// <summary>The keys that have a value, as a job writes them; not <see cref="Name"/> nor <see cref="Augment"/>, which any images take.</summary>
    internal IEnumerable<string> GivenKeys()
    {
        if (Path != null) yield return "path";
        if (TestPath != null) yield return "test_path";
        if (LabelsPath != null) yield return "labels_path";
        if (Header != null) yield return "header";
        if (Label != null) yield return "label";
        if (Targets.Count > 0) yield return "targets";
        if (Ignore.Count > 0) yield return "ignore";
        if (Delimiter != null) yield return "delimiter";
        if (Classes != null) yield return "classes";
        if (Standardize) yield return "standardize";
        if (Scale != null) yield return "scale";
        if (TestFraction != null) yield return "test_fraction";
        if (Context != null) yield return "context";
        if (Stride != null) yield return "stride";
        if (Vocabulary != null) yield return "vocabulary";
        if (Length != null) yield return "length";
        if (MinCount != null) yield return "min_count";
        if (Prefix != null) yield return "prefix";
        if (Suffix != null) yield return "suffix";
    }
}

/// <summary>Data ready to be trained on.</summary>
/// <param name="Name">The source's name.</param>
/// <param name="Train">The training part.</param>
/// <param name="Test">The test part; null when nothing is held out.</param>
/// <param name="DataHash">SHA-256 over both parts' content, for the join handshake and checkpoints.</param>
/// <param name="ClassNames">What each class is called; empty with real targets.</param>
/// <param name="Summary">One line for people.</param>
public sealed record LoadedData(
    string Name,
    IDataset Train,
    IDataset? Test,
    string DataHash,
    IReadOnlyList<string> ClassNames,
    string Summary);
