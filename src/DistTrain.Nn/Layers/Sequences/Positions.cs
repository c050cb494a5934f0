using System.Collections.Immutable;
using DistTrain.Core.Config;
using DistTrain.Kernels;

namespace DistTrain.Nn;

/// <summary>Where the vectors of positions come from.</summary>
public enum PositionKind
{
    /// <summary>Trained: a table, [time, features].</summary>
    Learned,

    /// <summary>Sines and cosines of falling frequencies: see <see cref="PositionsSpec"/>.</summary>
    Sinusoidal,
}

/// <summary>
/// Adds a vector to each position of [time, features], so that what follows can tell positions apart. Sinusoidal (Vaswani
/// et al., 2017): element 2i of position t is sin(t·10000^(−2i / features)), element 2i + 1 the cosine.
/// </summary>
/// <param name="From">Learned or sinusoidal.</param>
/// <param name="Init">A learned table's first values; null for normal with a standard deviation of 0.02.</param>
public sealed record PositionsSpec(PositionKind From = PositionKind.Learned, Initialiser? Init = null) : LayerSpec
{
    internal const string Name = "positions";

    /// <inheritdoc/>
    public override string Kind => Name;

    internal static PositionsSpec Read(NamedChoice choice)
    {
        if (choice.HasMainValue) return new PositionsSpec(KindOf(choice.Options));
        var spec = new PositionsSpec(
            choice.Options.Find("from") is { } from ? KindOf(from) : PositionKind.Learned,
            choice.Options.Find("init") is { } init ? Initialiser.FromConfig(init) : null);
        choice.RefuseUnknown();
        return spec;
    }

    internal override Layer Compile(LayerBuilder builder)
    {
        (int time, int features) = builder.Sequences();
        if (From == PositionKind.Sinusoidal) return new FixedPositionsLayer([time, features], Sines(time, features));
        return new PositionsLayer(builder.Declare("weight", [time, features], Init ?? Initialisers.Normal(0.02), time, features));
    }

    private static PositionKind KindOf(ConfigNode node) => Choices.Read(node, "positions", ("learned", PositionKind.Learned), ("sinusoidal", PositionKind.Sinusoidal));

    private static float[] Sines(int time, int features)
    {
        var table = new float[time * features];
        for (int i = 0; i < features; i++)
        {
            double frequency = 1 / ScalarMath.Pow(10_000, i / 2 * 2 / (double)features);
            for (int t = 0; t < time; t++) table[(t * features) + i] = (float)(i % 2 == 0 ? ScalarMath.Sin(t * frequency) : ScalarMath.Cos(t * frequency));
        }

        return table;
    }
}

/// <summary>y = x + the same values for every row.</summary>
internal static unsafe class PerPosition
{
    public static void Add(NodeBuffers node, StepContext step, float* table, nint width)
    {
        for (nint row = 0; row < step.Rows; row++)
        {
            Elementwise.Add(node.Input() + (row * width), table, node.Output + (row * width), width, step.Pool);
        }
    }

    public static void PassBack(NodeBuffers node, StepContext step, nint width)
    {
        if (node.InputGradient() != null) Elementwise.Copy(node.OutputGradient, node.InputGradient(), step.Rows * width, step.Pool);
    }
}

/// <summary>Adds a fixed table.</summary>
internal sealed unsafe class FixedPositionsLayer(ImmutableArray<int> shape, float[] table) : Layer(shape)
{
    /// <inheritdoc/>
    public override void Forward(NodeBuffers node, StepContext step)
    {
        fixed (float* values = table) PerPosition.Add(node, step, values, OutputWidth);
    }

    /// <inheritdoc/>
    public override void Backward(NodeBuffers node, StepContext step) => PerPosition.PassBack(node, step, OutputWidth);
}

/// <summary>Adds a trained table, [time, features].</summary>
internal sealed unsafe class PositionsLayer(Parameter table) : Layer(table.Shape)
{
    /// <inheritdoc/>
    public override ImmutableArray<Parameter> Parameters => [table];

    /// <inheritdoc/>
    public override void Forward(NodeBuffers node, StepContext step) => PerPosition.Add(node, step, step.Weight(table), OutputWidth);

    /// <summary>The table's gradient is the sum over the rows.</summary>
    public override void Backward(NodeBuffers node, StepContext step)
    {
        GradientPlan plan = step.Plan!;
        for (int j = 0; j < plan.NodeCount; j++)
        {
            SegmentedGemm.ColumnSum(node.OutputGradient, OutputWidth, OutputWidth, plan.RangesOf(j), plan.LeafStartsOf(j), step.Gradient(table, j), step.Pool);
        }

        step.Finished(table);
        PerPosition.PassBack(node, step, OutputWidth);
    }
}
