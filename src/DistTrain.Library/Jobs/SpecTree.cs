using DistTrain.Nn;
using DistTrain.Optim;
using static DistTrain.Jobs.JobTree;

namespace DistTrain.Jobs;

/// <summary>
/// Turns the descriptions of model, loss, optimizer and schedule back into what their readers read: one line for each
/// kind that has options. A test walks all kinds there are, so that none is forgotten.
/// </summary>
internal static partial class SpecTree
{
    public static YamlTree Of(ModelSpec model) => List(model.Layers.Select(Of));

    public static YamlTree Of(LossSpec loss) => loss switch
    {
        SoftmaxCrossEntropySpec entropy when entropy != Losses.SoftmaxCrossEntropy => Map((entropy.Kind, Map(
            ("label_smoothing", Number(entropy.LabelSmoothing)),
            ("class_weights", entropy.ClassWeights.IsEmpty ? null : List(entropy.ClassWeights.Select(w => Number(w)!))),
            ("ignore_index", Number(entropy.IgnoreIndex))))),
        SquaredErrorSpec { Half: true } => Map((loss.Kind, Map(("half", Flag(true))))),
        HuberSpec huber => Map((huber.Kind, Map(("delta", Number(huber.Delta))))),
        HingeSpec hinge => Map((hinge.Kind, Map(("margin", Number(hinge.Margin))))),
        _ => Text(loss.Kind)!,
    };

    public static YamlTree Of(LayerSpec layer) => layer switch
    {
        DenseSpec dense => Map((dense.Kind, Map(
            ("out", Number(dense.Out)),
            ("bias", Flag(dense.Bias)),
            ("init", Of(dense.Init)),
            ("bias_init", Of(dense.BiasInit))))),
        ResidualSpec or SumSpec or ConcatSpec or ReshapeSpec => Map((layer.Kind, OfShapeOrBranches(layer))),
        _ => (OfOptions(layer) ?? OfSequenceOptions(layer)) is { } options ? Map((layer.Kind, options)) : Text(layer.Kind)!,
    };

    public static YamlTree Of(OptimizerSpec optimizer) =>
        Map((optimizer.Name, Map([.. Options(optimizer), ("decay_biases", optimizer.DecaysBiases ? null : Flag(false)), ("groups", OfGroups(optimizer.Groups))])));

    private static YamlTree? OfGroups(ParameterGroups groups) => groups.List.IsEmpty ? null : List(groups.List.Select(g => Map(
        ("match", Text(g.Match)),
        ("learning_rate_scale", Number(g.LearningRateScale)),
        ("weight_decay", Number(g.WeightDecay)),
        ("frozen", g.Frozen ? Flag(true) : null))));

    private static (string Key, YamlTree? Value)[] Options(OptimizerSpec optimizer) => optimizer switch
    {
        SgdSpec sgd =>
        [
            ("learning_rate", Number(sgd.LearningRate)),
            ("momentum", Number(sgd.Momentum)),
            ("nesterov", Flag(sgd.Nesterov)),
            ("weight_decay", Number(sgd.WeightDecay)),
        ],
        RmsPropSpec rms =>
        [
            ("learning_rate", Number(rms.LearningRate)),
            ("decay", Number(rms.Decay)),
            ("epsilon", Number(rms.Epsilon)),
            ("momentum", Number(rms.Momentum)),
            ("weight_decay", Number(rms.WeightDecay)),
            ("centered", Flag(rms.Centered)),
        ],
        LarsSpec lars =>
        [
            ("learning_rate", Number(lars.LearningRate)),
            ("momentum", Number(lars.Momentum)),
            ("weight_decay", Number(lars.WeightDecay)),
            ("trust_coefficient", Number(lars.TrustCoefficient)),
            ("epsilon", Number(lars.Epsilon)),
        ],
        LambSpec lamb =>
        [
            ("learning_rate", Number(lamb.LearningRate)),
            ("beta1", Number(lamb.Beta1)),
            ("beta2", Number(lamb.Beta2)),
            ("epsilon", Number(lamb.Epsilon)),
            ("weight_decay", Number(lamb.WeightDecay)),
        ],
        AdagradSpec adagrad =>
        [
            ("learning_rate", Number(adagrad.LearningRate)),
            ("epsilon", Number(adagrad.Epsilon)),
            ("weight_decay", Number(adagrad.WeightDecay)),
        ],
        LionSpec lion =>
        [
            ("learning_rate", Number(lion.LearningRate)),
            ("beta1", Number(lion.Beta1)),
            ("beta2", Number(lion.Beta2)),
            ("weight_decay", Number(lion.WeightDecay)),
        ],
        AdamSpec adam =>
        [
            ("learning_rate", Number(adam.LearningRate)),
            ("beta1", Number(adam.Beta1)),
            ("beta2", Number(adam.Beta2)),
            ("epsilon", Number(adam.Epsilon)),
            ("weight_decay", Number(adam.WeightDecay)),
        ],
        _ => throw Unknown(optimizer),
    };

    public static YamlTree Of(ScheduleSpec schedule) => Map((schedule.Name, schedule switch
    {
        ConstantSchedule => Map(("warmup_steps", Number(schedule.WarmupSteps))),
        CosineSchedule { RestartEvery: 0 } cosine => Map(("warmup_steps", Number(cosine.WarmupSteps)), ("final_factor", Number(cosine.FinalFactor))),
        CosineSchedule cosine => Map(
            ("warmup_steps", Number(cosine.WarmupSteps)),
            ("final_factor", Number(cosine.FinalFactor)),
            ("restart_every", Number(cosine.RestartEvery)),
            ("restart_factor", Number(cosine.RestartFactor))),
        MultiStepSchedule steps => Map(
            ("at", List(steps.At.Select(s => Number(s)!))), ("factor", Number(steps.FallFactor)), ("warmup_steps", Number(steps.WarmupSteps))),
        ExponentialSchedule exponential => Map(("factor", Number(exponential.FallFactor)), ("warmup_steps", Number(exponential.WarmupSteps))),
        PolynomialSchedule polynomial => Map(
            ("power", Number(polynomial.Power)), ("final_factor", Number(polynomial.FinalFactor)), ("warmup_steps", Number(polynomial.WarmupSteps))),
        OneCycleSchedule cycle => Map(
            ("rise_share", Number(cycle.RiseShare)), ("start_factor", Number(cycle.StartFactor)), ("final_factor", Number(cycle.FinalFactor))),
        PlateauSchedule plateau => Map(
            ("factor", Number(plateau.FallFactor)), ("patience", Number(plateau.Patience)), ("threshold", Number(plateau.Threshold)),
            ("cooldown", Number(plateau.Cooldown)), ("minimum", Number(plateau.Minimum)), ("warmup_steps", Number(plateau.WarmupSteps))),
        StepSchedule step => Map(("every", Number(step.Every)), ("factor", Number(step.FallFactor)), ("warmup_steps", Number(step.WarmupSteps))),
        _ => throw Unknown(schedule),
    }));

    private static YamlTree? Of(Initialiser? initialiser) => initialiser switch
    {
        null => null,
        FanScaledInitialiser => Text(initialiser.Kind),
        ConstantInitialiser constant => Map((constant.Kind, Number(constant.Value))),
        UniformInitialiser uniform => Map((uniform.Kind, Number(uniform.Limit))),
        NormalInitialiser normal => Map((normal.Kind, Number(normal.Std))),
        OrthogonalInitialiser orthogonal => Map((orthogonal.Kind, Number(orthogonal.Gain))),
        TruncatedNormalInitialiser cut => Map((cut.Kind, Map(("std", Number(cut.Std)), ("mean", Number(cut.Mean)), ("cut", Number(cut.Cut))))),
        _ => throw Unknown(initialiser),
    };

    private static InvalidOperationException Unknown(object spec) => new($"{spec.GetType().Name} has no line in {nameof(SpecTree)}");
}
