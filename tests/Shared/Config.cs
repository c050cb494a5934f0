using System.Text.Json;
using DistTrain.Core.Config;

namespace DistTrain.Tests;

/// <summary>Job fragments for tests, written in JSON, which is YAML too.</summary>
internal static class Config
{
    public static ConfigNode Json(string json, string path) => Read(JsonDocument.Parse(json).RootElement, path);

    private static ConfigNode Read(JsonElement element, string path)
    {
        const string Place = "job.yaml:7";
        switch (element.ValueKind)
        {
            case JsonValueKind.Object:
                ConfigNode map = ConfigNode.NewMap(path, Place);
                foreach (JsonProperty p in element.EnumerateObject()) map.Set(p.Name, Read(p.Value, $"{path}.{p.Name}"));
                return map;
            case JsonValueKind.Array:
                ConfigNode list = ConfigNode.NewList(path, Place);
                foreach ((int i, JsonElement item) in element.EnumerateArray().Index()) list.Add(Read(item, $"{path}[{i}]"));
                return list;
            case JsonValueKind.Null:
                return ConfigNode.NewScalar(null, path, Place);
            default:
                string text = element.ValueKind == JsonValueKind.String ? element.GetString()! : element.GetRawText();
                return ConfigNode.NewScalar(text, path, Place);
        }
    }
}
