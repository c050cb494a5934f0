using DistTrain.Core;

namespace DistTrain.Data;

/// <summary>Finds the files of an IDX dataset by their usual names.</summary>
internal static class IdxNames
{
    /// <summary>The images and labels of <paramref name="part"/> ("train" or "t10k") in a directory, in either of the
    /// spellings that are about (train-images-idx3-ubyte, train-images.idx3-ubyte), plain or with .gz; null where
    /// neither file is there.</summary>
    /// <exception cref="DistTrainException">One of the two is there and the other is not.</exception>
    public static (string Images, string Labels)? Find(string directory, string part)
    {
        string? images = First(directory, $"{part}-images", "idx3-ubyte");
        string? labels = First(directory, $"{part}-labels", "idx1-ubyte");
        if (images == null && labels == null) return null;
        if (images != null && labels != null) return (images, labels);
        string missing = images == null ? $"{part}-images-idx3-ubyte" : $"{part}-labels-idx1-ubyte";
        throw new DistTrainException(ExitCode.BadData, $"{Path.Combine(directory, missing)}: no such file (nor with .gz), beside {Path.GetFileName(images ?? labels)}");
    }

    /// <summary>The labels that belong to a file of images: the same name with labels and idx1 for images and idx3.</summary>
    /// <exception cref="DistTrainException">There is no such file, or the name has no "images" in it.</exception>
    public static string LabelsFor(string images)
    {
        string name = Path.GetFileName(images);
        string directory = Path.GetDirectoryName(images) ?? "";
        if (!name.Contains("images", StringComparison.Ordinal))
        {
            throw new DistTrainException(ExitCode.BadUsage, $"{images}: its labels can't be found by its name; give them as data.labels_path");
        }

        string labels = name.Replace("images", "labels", StringComparison.Ordinal).Replace("idx3", "idx1", StringComparison.Ordinal);
        string plain = labels.EndsWith(".gz", StringComparison.Ordinal) ? labels[..^3] : labels;
        foreach (string candidate in (string[])[labels, plain, plain + ".gz"])
        {
            string path = Path.Combine(directory, candidate);
            if (File.Exists(path)) return path;
        }

        throw new DistTrainException(ExitCode.BadData, $"{Path.Combine(directory, labels)}: no such file; expected the labels of {name}");
    }

    private static string? First(string directory, string stem, string kind)
    {
        foreach (string name in (string[])[$"{stem}-{kind}", $"{stem}-{kind}.gz", $"{stem}.{kind}", $"{stem}.{kind}.gz"])
        {
            string path = Path.Combine(directory, name);
            if (File.Exists(path)) return path;
        }

        return null;
    }
}
