namespace DistTrain.Data;

/// <summary>A file of a public dataset.</summary>
/// <param name="Name">Its name, in a mirror and on disk.</param>
/// <param name="Bytes">Its size.</param>
/// <param name="Sha256">The SHA-256 of its content, in lower-case hexadecimal.</param>
public sealed record PublicFile(string Name, long Bytes, string Sha256);

/// <summary>A dataset that can be fetched from a mirror; it is verified, so any mirror will do.</summary>
/// <param name="Name">What jobs call it.</param>
/// <param name="Summary">One line for people.</param>
/// <param name="Files">What it consists of.</param>
public sealed record PublicDataset(string Name, string Summary, IReadOnlyList<PublicFile> Files)
{
    /// <summary>Those that are known.</summary>
    public static IReadOnlyList<PublicDataset> All { get; } =
    [
        new("mnist", "handwritten digits, 60,000 and 10,000 images of 28 x 28 in 10 classes",
        [
            new("train-images-idx3-ubyte.gz", 9_912_422, "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609"),
            new("train-labels-idx1-ubyte.gz", 28_881, "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c"),
            new("t10k-images-idx3-ubyte.gz", 1_648_877, "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6"),
            new("t10k-labels-idx1-ubyte.gz", 4_542, "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6"),
        ]),
        new("fashion-mnist", "articles of clothing, 60,000 and 10,000 images of 28 x 28 in 10 classes",
        [
            new("train-images-idx3-ubyte.gz", 26_421_880, "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84"),
            new("train-labels-idx1-ubyte.gz", 29_515, "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845"),
            new("t10k-images-idx3-ubyte.gz", 4_422_102, "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073"),
            new("t10k-labels-idx1-ubyte.gz", 5_148, "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5"),
        ]),
        new("cifar-10", "photographs, 50,000 and 10,000 images of 3 x 32 x 32 in 10 classes, binary version",
        [
            new("cifar-10-binary.tar.gz", 170_052_171, "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd"),
        ]),
    ];
}
