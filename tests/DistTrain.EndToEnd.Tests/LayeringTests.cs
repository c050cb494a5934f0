using System.Xml.Linq;

namespace DistTrain.EndToEnd.Tests;

/// <summary>The arrows between projects point down only, as src/ARCHITECTURE.md has them.</summary>
public class LayeringTests
{
    private static readonly Dictionary<string, string[]> Allowed = new(StringComparer.Ordinal)
    {
        ["Kernels"] = [],
        ["Core"] = [],
        ["Data"] = ["Core", "Kernels"],
        ["Nn"] = ["Core", "Kernels"],
        ["Optim"] = ["Core", "Kernels"],
        ["Training"] = ["Core", "Kernels", "Data", "Nn", "Optim"],
        ["Transport"] = ["Core"],
        ["Cluster"] = ["Core"],
        ["Library"] = ["Core", "Kernels", "Data", "Nn", "Optim", "Training", "Transport", "Cluster"],
        ["Bench"] = ["Core", "Kernels", "Data", "Nn", "Optim", "Training", "Transport", "Cluster", "Library"],
        ["Cli"] = ["Bench", "Core", "Kernels", "Data", "Nn", "Optim", "Training", "Transport", "Cluster", "Library"],
    };

    [Fact]
    public void Projects_ReferenceOnlyWhatLiesBelow()
    {
        string source = Path.Combine(Cli.Repository, "src");
        string[] projects = Directory.GetFiles(source, "*.csproj", SearchOption.AllDirectories);
        Assert.Equal(Allowed.Keys.Order(), projects.Select(Name).Order());
        foreach (string project in projects)
        {
            IEnumerable<string> references = XDocument.Load(project).Descendants("ProjectReference").Select(r => Name(r.Attribute("Include")!.Value));
            Assert.All(references, r => Assert.Contains(r, Allowed[Name(project)]));
        }
    }

    private static string Name(string path) => Path.GetFileNameWithoutExtension(path)["DistTrain.".Length..];
}
