using System.Text.Json;

namespace DistTrain.Chaos;

/// <summary>Reads what <c>--audit</c> recorded, knowing nothing of how examples are chosen.</summary>
internal static class AuditCheck
{
    /// <summary>
    /// What is wrong: steps must follow each other from 0 to the last, and each epoch must use each of its examples exactly once (the last one at most
    /// once, where training ends within it); null for nothing.
    /// </summary>
    public static string? Fault(string file, long steps, long examples)
    {
        long next = 0, epoch = 0;
        var used = new HashSet<long>();
        foreach (string line in File.ReadLines(file))
        {
            using JsonDocument row = JsonDocument.Parse(line);
            if (row.RootElement.GetProperty("step").GetInt64() != next) return $"line {next + 1} is not of step {next}: {line}";
            long of = row.RootElement.GetProperty("epoch").GetInt64();
            if (of != epoch)
            {
                if (of != epoch + 1 || used.Count != examples) return $"epoch {epoch} used {used.Count} of {examples} examples, and epoch {of} follows";
                (epoch, used) = (of, []);
            }

            foreach (JsonElement example in row.RootElement.GetProperty("shards").EnumerateArray().SelectMany(s => s.EnumerateArray()))
            {
                if (example.GetInt64() < 0 || example.GetInt64() >= examples || !used.Add(example.GetInt64())) return $"step {next} uses example {example} a second time in epoch {epoch}, or there is no such example";
            }

            next++;
        }

        return next == steps ? null : $"{next} of {steps} steps are recorded";
    }
}
