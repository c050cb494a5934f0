using System.Buffers.Binary;
using System.IO.Compression;
using System.Text;
using DistTrain.Data;

namespace DistTrain.Fuzz.Targets;

/// <summary>NumPy's arrays: two files, or an archive of them.</summary>
internal sealed class NpyTarget : FileTarget
{
    private const int Archives = 8;

    private static readonly string[] Types = ["<f4", "<f8", "|u1", "|i1", "<i2", "<u2", "<i4", "<u4", "<i8", "|b1", ">f4", "<c8"];
    private static readonly string[] Words = ["'descr':", "'shape':", "'fortran_order':", "(", ")", "'", "True", "False", ",", "1,", "0", "<f4", "{", "}", " ", "\n", "\"descr\":", "'shape': ("];

    public override string Name => "npy";

    public override byte[] Make(FuzzRandom random)
    {
        int count = random.Next(1, 6);
        int[] shape = random.Pick<int[]>([[count, 3], [count], [count, 2, 2], [count, 1, 2, 2]]);
        byte[] x = File(random, random.Pick(Types), shape), y = File(random, random.Pick(["<i4", "<i8", "|u1", "<f4", "<f8"]), random.Chance(0.8) ? [count] : [count, 2]);
        byte options = (byte)random.Next(16);
        if ((options & Archives) == 0) return Join(options, Damaged(random, x, 0.6), Damaged(random, y, 0.3));
        using var memory = new MemoryStream();
        using (var archive = new ZipArchive(memory, ZipArchiveMode.Create))
        {
            foreach ((string name, byte[] bytes) in (ReadOnlySpan<(string, byte[])>)[("x.npy", x), ("y.npy", y)])
            {
                ZipArchiveEntry entry = archive.CreateEntry(name, random.Chance(0.5) ? CompressionLevel.Fastest : CompressionLevel.NoCompression);
                // An archive tells the time, and the same seed gives the same bytes.
                entry.LastWriteTime = new DateTimeOffset(2025, 1, 1, 0, 0, 0, TimeSpan.Zero);
                using Stream stream = entry.Open();
                stream.Write(bytes);
            }
        }

        byte[] zip = memory.ToArray();
        if (random.Chance(0.3)) Lie(random, zip);
        return Join(options, random.Chance(0.7) ? ByteMutator.Mutate(random, zip, zip) : zip, []);
    }

    public override bool Read(byte[] input)
    {
        (byte options, byte[] x, byte[] y) = Part(input);
        bool archive = (options & Archives) != 0;
        return Load(new DataSource
        {
            Name = "numpy",
            Path = Write(archive ? "all.npz" : "x.npy", x),
            LabelsPath = archive ? null : Write("y.npy", y),
            Standardize = (options & 1) != 0,
            Classes = (options & 2) != 0 ? 10 : null,
            TestFraction = (options & 4) != 0 ? 0 : null,
        });
    }

    private static byte[] File(FuzzRandom random, string type, int[] shape)
    {
        IEnumerable<string> claimed = shape.Select(d => random.Chance(0.05) ? $"{random.Extreme()}" : $"{d}");
        string header = $"{{'descr': '{type}', 'fortran_order': False, 'shape': ({string.Join(", ", claimed)}{(shape.Length == 1 ? "," : "")}), }}\n";
        if (random.Chance(0.4)) header = TextMutator.Mutate(random, header, Words, 1000);
        byte version = random.Chance(0.9) ? (byte)1 : (byte)random.Next(5);
        byte[] text = Encoding.UTF8.GetBytes(header), length = new byte[version == 1 ? 2 : 4];
        if (version == 1) BinaryPrimitives.WriteUInt16LittleEndian(length, (ushort)text.Length);
        else BinaryPrimitives.WriteInt32LittleEndian(length, text.Length);
        byte[] elements = new byte[shape.Aggregate(type[2] - '0', (n, d) => n * d)];
        for (int i = 0; i < elements.Length; i++) elements[i] = random.Chance(0.1) ? (byte)random.Bits() : (byte)0;
        return [0x93, (byte)'N', (byte)'U', (byte)'M', (byte)'P', (byte)'Y', version, 0, .. length, .. text, .. elements];
    }

    // The archive's directory claims another size.
    private static void Lie(FuzzRandom random, byte[] zip)
    {
        int entry = zip.AsSpan().IndexOf("PK\x01\x02"u8);
        if (entry < 0) return;
        BinaryPrimitives.WriteUInt32LittleEndian(zip.AsSpan(entry + 24), (uint)random.Extreme());
        if (random.Chance(0.5)) BinaryPrimitives.WriteUInt32LittleEndian(zip.AsSpan(entry + 20), (uint)random.Extreme());
    }
}
