using System.Text;
using DistTrain.Transport.Grpc;

namespace DistTrain.Fuzz.Targets;

/// <summary>What gRPC puts into the headers of HTTP: timeouts, messages, metadata, content types.</summary>
internal sealed class HeadersTarget : FuzzTarget
{
    private static readonly string[] Samples =
        ["1\n10S", "1\n99999999H", "1\n1u", "2\n100%25 – %E2%82%AC", "2\n%", "3\nkey-bin: AAEC,/w==", "3\nauthorization: Bearer x", "4\napplication/grpc+proto; a=b", "5\n100 % größer 😀"];

    private static readonly string[] Words = ["%", "%F", "%FF", "%00", "-bin", "=", ",", "H", "S", "n", "9", ";", ":", " ", "\0", "é", "\uD83D", "grpc-", "AAAA"];

    public override string Name => "headers";

    public override int Brief => 20_000;

    public override byte[] Make(FuzzRandom random) => Encoding.Unicode.GetBytes(TextMutator.Mutate(random, random.Pick(Samples), Words));

    public override bool Read(byte[] input)
    {
        string text = Encoding.Unicode.GetString(input);
        string value = text.Length > 2 ? text[2..] : "";
        switch (text.Length > 0 ? text[0] : ' ')
        {
            case '1':
                if (!WireText.TryDecodeTimeout(value, out TimeSpan timeout)) return false;
                return timeout >= TimeSpan.Zero ? true : throw new BrokenPromiseException($"a timeout of {timeout}");
            case '2':
                _ = WireText.DecodeMessage(value);
                return true;
            case '3':
                int colon = value.IndexOf(':', StringComparison.Ordinal);
                if (colon <= 0) return false;
                var metadata = new GrpcMetadata();
                metadata.AddWire(value[..colon], value[(colon + 1)..]);
                return metadata.Count > 0;
            case '4':
                return WireText.IsGrpc(value);
            default:
                string encoded = WireText.EncodeMessage(value);
                return !encoded.AsSpan().ContainsAnyExceptInRange(' ', '~') ? true : throw new BrokenPromiseException($"'{encoded}' is no header");
        }
    }
}
