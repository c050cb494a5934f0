using DistTrain.Core;
using DistTrain.Core.Config;

namespace DistTrain.Nn;

/// <summary>Options that are one of a few words.</summary>
internal static class Choices
{
    /// <summary>The value that a word stands for.</summary>
    /// <exception cref="DistTrainException">It is another word; the message has all, and the nearest.</exception>
    public static T Read<T>(ConfigNode node, string what, params ReadOnlySpan<(string Word, T Value)> choices)
    {
        string text = node.AsText();
        var words = new List<string>();
        foreach ((string word, T value) in choices)
        {
            if (word == text) return value;
            words.Add(word);
        }

        throw node.Error($"unknown {what} '{text}'; expected {string.Join(" or ", words)}{NearestName.Hint(text, words)}");
    }
}
