using System.Buffers.Binary;
using DistTrain.Data;

namespace DistTrain.Fuzz.Targets;

/// <summary>IDX: a file of images and one of labels.</summary>
internal sealed class IdxTarget : FileTarget
{
    public override string Name => "idx";

    public override byte[] Make(FuzzRandom random)
    {
        int count = random.Next(1, 6);
        int[] shape = random.Pick<int[]>([[count, 3, 4], [count, 2, 3, 4], [count, 5]]);
        byte[] images = File(random, shape), labels = File(random, [random.Chance(0.9) ? count : random.Next(9)]);
        return Join((byte)random.Next(8), Damaged(random, images), Damaged(random, labels, 0.3));
    }

    public override bool Read(byte[] input)
    {
        (byte options, byte[] images, byte[] labels) = Part(input);
        return Load(new DataSource
        {
            Name = "idx",
            Path = Write("images", images),
            LabelsPath = Write("labels", labels),
            Standardize = (options & 1) != 0,
            Classes = (options & 2) != 0 ? 10 : null,
            TestFraction = (options & 4) != 0 ? 0 : null,
        });
    }

    private static byte[] File(FuzzRandom random, int[] shape)
    {
        bool wild = random.Chance(0.3);
        byte[] bytes = [0, 0, 8, (byte)shape.Length, .. new byte[4 * shape.Length], .. random.Bytes(shape.Aggregate(1, (n, d) => n * d))];
        for (int i = 0; i < shape.Length; i++) BinaryPrimitives.WriteInt32BigEndian(bytes.AsSpan(4 + (4 * i)), wild && random.Chance(0.5) ? (int)random.Extreme() : shape[i]);
        for (int i = 4 + (4 * shape.Length); shape.Length == 1 && i < bytes.Length; i++) bytes[i] %= 10;
        return bytes;
    }
}
