using System.CommandLine;
using System.CommandLine.Parsing;
using DistTrain.Core;

namespace DistTrain.Cli;

/// <summary>Says in one line what is wrong with a command line, with the nearest right spelling.</summary>
internal static class UsageErrors
{
    /// <summary>Throws the first thing that is wrong.</summary>
    public static void Check(ParseResult parsed)
    {
        Command command = parsed.CommandResult.Command;
        // An unknown option would be taken for a JOB.
        string? before = null;
        foreach (Token token in parsed.Tokens)
        {
            if (before == "--") break;
            if (token.Type == TokenType.Argument && token.Value is ['-', _, ..]) throw UnknownOption(command, token.Value);
            before = token.Value;
        }

        if (parsed.UnmatchedTokens is [string first, ..])
        {
            throw first.StartsWith('-') ? UnknownOption(command, first)
                : command is RootCommand ? Usage($"unknown command '{first}'{NearestName.Hint(first, [.. Visible(command.Subcommands).Select(c => c.Name)])}")
                : Usage($"{Words(command)}: '{first}' is one argument too many");
        }

        if (parsed.Tokens.Count == 0) throw Usage($"a command is missing; there are: {string.Join(", ", Visible(command.Subcommands).Select(c => c.Name))} (disttrain --help)");
        if (parsed.Errors is [ParseError error, ..]) throw Usage(InContext(command, NotANumber(error) ?? error.Message));
    }

    private static DistTrainException UnknownOption(Command command, string token)
    {
        string name = token.Split('=')[0];
        List<string> names = [.. command.Options.Where(o => !o.Hidden).Select(o => o.Name)];
        string of = command is RootCommand ? "" : Words(command) + ": ";
        return Usage($"{of}unknown option '{name}'{NearestName.Hint(name, names)}");
    }

    private static IEnumerable<Command> Visible(IEnumerable<Command> commands) => commands.Where(c => !c.Hidden);

    // System.CommandLine would name the .NET type.
    private static string? NotANumber(ParseError error)
    {
        if (error.SymbolResult is not OptionResult { Tokens: [Token token], Option: var option } || !error.Message.Contains("parse", StringComparison.Ordinal)) return null;
        Type type = Nullable.GetUnderlyingType(option.ValueType) ?? option.ValueType;
        string? expected = type == typeof(int) ? $"a whole number up to {int.MaxValue}" : type == typeof(long) ? $"a whole number up to {long.MaxValue}" : type == typeof(double) ? "a number" : null;
        return expected is null ? null : $"{option.Name} {token.Value}: expected {expected}";
    }

    // As one types it: 'bench channel'.
    private static string Words(Command command) =>
        command.Parents.OfType<Command>().FirstOrDefault() is { } parent and not RootCommand ? $"{Words(parent)} {command.Name}" : command.Name;

    private static string InContext(Command command, string message) =>
        command is RootCommand ? message : $"{Words(command)}: {char.ToLowerInvariant(message[0])}{message[1..].TrimEnd('.')}";

    private static DistTrainException Usage(string message) => new(ExitCode.BadUsage, message);
}
