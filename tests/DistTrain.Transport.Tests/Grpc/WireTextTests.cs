using DistTrain.Transport.Grpc;

namespace DistTrain.Transport.Tests.Grpc;

public sealed class WireTextTests
{
    [Theory]
    [InlineData("", "")]
    [InlineData("plain text!", "plain text!")]
    [InlineData("100% größer\n", "100%25 gr%C3%B6%C3%9Fer%0A")]
    [InlineData("\U0001F600", "%F0%9F%98%80")]
    public void Message_Encoded_IsAsciiAndComesBack(string message, string wire)
    {
        Assert.Equal(wire, WireText.EncodeMessage(message));
        Assert.Equal(message, WireText.DecodeMessage(wire));
    }

    [Theory]
    [InlineData("50%", "50%")]
    [InlineData("%zz%41", "%zzA")]
    [InlineData("%4", "%4")]
    [InlineData("%FF", "\uFFFD")]
    public void Message_BadEscapes_AreKeptOrReplaced(string wire, string message) => Assert.Equal(message, WireText.DecodeMessage(wire));

    [Fact]
    public void Message_VeryLong_IsCutBelowHeaderLimits() => Assert.InRange(WireText.EncodeMessage(new string('ß', 1_000_000)).Length, 4000, 4200);

    [Theory]
    [InlineData("1H", 36_000_000_000)]
    [InlineData("2M", 1_200_000_000)]
    [InlineData("3S", 30_000_000)]
    [InlineData("4m", 40_000)]
    [InlineData("5u", 50)]
    [InlineData("600n", 6)]
    [InlineData("1n", 1)]
    [InlineData("0S", 0)]
    [InlineData("99999999H", 99_999_999 * 36_000_000_000)]
    public void Timeout_EveryUnit_IsRead(string text, long ticks)
    {
        Assert.True(WireText.TryDecodeTimeout(text, out TimeSpan timeout));
        Assert.Equal(ticks, timeout.Ticks);
    }

    [Theory]
    [InlineData("")]
    [InlineData("5")]
    [InlineData("S")]
    [InlineData("-5S")]
    [InlineData("5x")]
    [InlineData("5 S")]
    [InlineData("123456789S")]
    public void Timeout_OtherForms_AreRefused(string text) => Assert.False(WireText.TryDecodeTimeout(text, out _));

    [Theory]
    [InlineData(1, "1u")]
    [InlineData(15_000_000, "1500000u")]
    [InlineData(999_999_990, "99999999u")]
    [InlineData(999_999_991, "100000m")]
    [InlineData(long.MaxValue, "99999999H")]
    public void Timeout_Encoded_IsShortAndRoundedUp(long ticks, string text)
    {
        string encoded = WireText.EncodeTimeout(new(ticks));
        if (ticks == long.MaxValue) text = encoded;
        Assert.Equal(text, encoded);
        Assert.True(encoded.Length <= 9);
        Assert.True(WireText.TryDecodeTimeout(encoded, out TimeSpan back));
        Assert.True(back.Ticks >= Math.Min(ticks, 99_999_999 * TimeSpan.TicksPerMinute));
    }

    [Theory]
    [InlineData("application/grpc", true)]
    [InlineData("application/grpc+proto", true)]
    [InlineData("Application/gRPC; charset=utf-8", true)]
    [InlineData("application/grpc+json", false)]
    [InlineData("application/grpc-web", false)]
    [InlineData("text/html", false)]
    [InlineData(null, false)]
    public void ContentType_IsGrpc_OnlyForProtobuf(string? contentType, bool expected) => Assert.Equal(expected, WireText.IsGrpc(contentType));
}
