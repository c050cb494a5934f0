using System.Text;
using DistTrain.Core;
using DistTrain.Training.Checkpoints;

namespace DistTrain.Training.Tests.Checkpoints;

public class SafetensorsFuzzTests
{
    private const string Header =
        """{"__metadata__":{"format":"pt"},"a":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},"b":{"dtype":"I64","shape":[],"data_offsets":[24,32]},"c":{"dtype":"BF16","shape":[0,7],"data_offsets":[32,32]}}""";

    private static readonly string[] Numbers =
        ["0", "1", "-1", "24", "32", "2147483648", "4294967295", "9223372036854775807", "9223372036854775808", "18446744073709551616", "1e3", "0.5", "1e999", "null", "\"x\"", "[]"];

    private static readonly string[] Tokens = ["{", "}", "[", "]", ",", ":", "\"", "\\", "\\u0000", "\\udfff", "\"a\"", "\"dtype\"", "\"shape\"", "\"data_offsets\"", "\"F4\"", "\"F64\"", "true", " ", "\0", "\xFF"];

    [Fact]
    public void Parse_SeededStructuralMutations_OnlyEverRefusesTheData()
    {
        var random = new Random(1);
        int accepted = 0;
        for (int round = 0; round < 4000; round++)
        {
            string text = Mutate(random);
            byte[] bytes = random.Next(2) == 0 ? Encoding.UTF8.GetBytes(text) : Encoding.Latin1.GetBytes(text);
            long data = random.Next(3) == 0 ? random.Next(64) : 32;
            try
            {
                SafetensorsHeader header = SafetensorsHeader.Parse("x", bytes, data);
                long end = 0;
                foreach (SafetensorsTensor tensor in header.Tensors)
                {
                    // What is accepted lies within the data, without gaps and of the size that the shape says.
                    Assert.Equal(end, tensor.Begin);
                    Assert.Equal(tensor.ByteLength * 8, tensor.Shape.Contains(0) ? 0 : tensor.Length * SafetensorsTensor.Bits[tensor.Type]);
                    end = tensor.End;
                }

                Assert.Equal(data, end);
                accepted++;
            }
            catch (DistTrainException e)
            {
                Assert.Equal(ExitCode.BadData, e.ExitCode);
            }
        }

        // Some mutations do no harm; most do.
        Assert.InRange(accepted, 10, 2000);
    }

    private static string Mutate(Random random)
    {
        var text = new StringBuilder(Header);
        for (int n = random.Next(1, 4); n > 0; n--)
        {
            int at = random.Next(text.Length);
            switch (random.Next(5))
            {
                case 0:
                    ReplaceNumber(text, at, Numbers[random.Next(Numbers.Length)]);
                    break;
                case 1:
                    text.Insert(at, Tokens[random.Next(Tokens.Length)]);
                    break;
                case 2:
                    text.Remove(at, Math.Min(random.Next(1, 12), text.Length - at));
                    break;
                case 3:
                    text[at] = (char)random.Next(256);
                    break;
                default:
                    int length = Math.Min(random.Next(1, 60), text.Length - at);
                    text.Insert(random.Next(text.Length), text.ToString(at, length));
                    break;
            }

            if (text.Length == 0) break;
        }

        return text.ToString();
    }

    private static void ReplaceNumber(StringBuilder text, int from, string by)
    {
        int start = from;
        while (start < text.Length && !char.IsAsciiDigit(text[start])) start++;
        int end = start;
        while (end < text.Length && char.IsAsciiDigit(text[end])) end++;
        text.Remove(start, end - start).Insert(start, by);
    }
}
