namespace DistTrain.Kernels;

/// <summary>How a cross-entropy weighs its targets; default for one-hot labels that all weigh 1.</summary>
public unsafe struct CrossEntropyOptions
{
    /// <summary>ε in [0, 1]: this share of the target is spread evenly over all classes.</summary>
    public float LabelSmoothing { get; set; }

    /// <summary>(classes): the weight of each class; null for 1.</summary>
    public float* ClassWeights { get; set; }

    /// <summary>Rows with this label count for nothing: no loss, no gradient, no weight. It need not be a class.</summary>
    public int? IgnoredLabel { get; set; }
}

/// <summary>
/// Softmax cross-entropy, row by row. Of a row x of c values: m = max x; e_i = exp(x_i - m); s = Σ e_i in 16 lanes and
/// the fixed tree (<see cref="Reductions"/>); p_i = e_i / s; loss = ln s - (x_label - m); gradient = p - onehot(label).
/// Rows are independent: any part of a batch gives the same bits.
/// </summary>
/// <remarks>
/// With options or soft labels the target is a vector q, a class weight times a probability, and loss = Σ q_i (ln s - (x_i - m)),
/// gradient = (Σ q) p - q. In detail, with w the class weights and ε the smoothing:
/// <list type="bullet">
/// <item>Labels: a = (1 - ε)·w_label, b = ε / c, W = Σ w_i and D = Σ fma(w_i, x_i - m) in 16 lanes (c and Σ x_i - m where
/// there are no weights); loss = a·(ln s - (x_label - m)) + b·(W·ln s - D), its second half only where ε is not 0;
/// Q = fma(b, W, a); gradient_i = fma(Q, p_i, -b·w_i), and then - a at the label.</item>
/// <item>Soft labels: q_i = t_i, or fma(1 - ε, t_i, ε / c) where ε is not 0, times w_i where there are weights; Q = Σ q_i and
/// D = Σ fma(q_i, x_i - m) over the classes with q_i ≠ 0, in 16 lanes; loss = fma(Q, ln s, -D); gradient_i = fma(Q, p_i, -q_i).</item>
/// </list>
/// </remarks>
public static unsafe class SoftmaxCrossEntropy
{
    /// <summary>Loss and gradient of every row, as sums: nothing is divided by the number of rows.</summary>
    /// <param name="logits">(rows, classes), row-major.</param>
    /// <param name="labels">(rows): the true class of each row.</param>
    /// <param name="rows">How many examples.</param>
    /// <param name="classes">How many classes, at least 1.</param>
    /// <param name="losses">(rows): receives each row's loss.</param>
    /// <param name="dLogits">(rows, classes): receives softmax - onehot(label); may be the logits; null for a forward pass alone.</param>
    /// <param name="correct">(rows): receives 1 where the first of the largest logits is the label, else 0; may be null.</param>
    /// <param name="pool">Null for the caller alone.</param>
    /// <exception cref="ArgumentOutOfRangeException">A label is no class.</exception>
    public static void Run(
        float* logits, int* labels, nint rows, nint classes, float* losses, float* dLogits, byte* correct, KernelPool? pool = null)
    {
        Check(logits, rows, classes, losses, dLogits, labels, rows, null, null, correct);
        Guard.NotNull(labels, rows, nameof(labels));
        CheckLabels(labels, rows, classes, ignored: null);
        var kernel = new CrossEntropyKernel
        {
            Logits = logits,
            Labels = labels,
            Classes = classes,
            Losses = losses,
            Gradient = dLogits,
            Correct = correct,
        };
        RangeRunner.Run(kernel, rows, CrossEntropyKernel.Group, Softmax.Grain(classes), pool);
    }

    /// <summary>The same with options: label smoothing, class weights, an ignored label.</summary>
    /// <param name="logits">(rows, classes), row-major.</param>
    /// <param name="labels">(rows): the true class of each row, or the ignored label.</param>
    /// <param name="rows">How many examples.</param>
    /// <param name="classes">How many classes, at least 1.</param>
    /// <param name="options">How targets are weighed.</param>
    /// <param name="losses">(rows): receives each row's loss; +0 for an ignored one.</param>
    /// <param name="weights">(rows): receives what each row adds to the weight that the loss is divided by in the end:
    /// its class weight, 0 for an ignored row; may be null.</param>
    /// <param name="dLogits">(rows, classes): receives the gradient; may be the logits; null for a forward pass alone.</param>
    /// <param name="correct">(rows): receives 1 where the first of the largest logits is the label, else 0; may be null.</param>
    /// <param name="pool">Null for the caller alone.</param>
    /// <exception cref="ArgumentOutOfRangeException">A label is neither a class nor the ignored one, or the smoothing is outside [0, 1].</exception>
    public static void Run(
        float* logits,
        int* labels,
        nint rows,
        nint classes,
        in CrossEntropyOptions options,
        float* losses,
        float* weights,
        float* dLogits,
        byte* correct,
        KernelPool? pool = null)
    {
        Check(logits, rows, classes, losses, dLogits, labels, rows, options.ClassWeights, weights, correct);
        Guard.NotNull(labels, rows, nameof(labels));
        CheckLabels(labels, rows, classes, options.IgnoredLabel);
        var kernel = WeightedCrossEntropyKernel.Create(logits, rows, classes, in options, losses, dLogits);
        kernel.Labels = labels;
        kernel.RowWeights = weights;
        kernel.Correct = correct;
        RangeRunner.Run(kernel, rows, 1, Softmax.Grain(classes), pool);
    }

    /// <summary>The same with a distribution over the classes as each row's target.</summary>
    /// <param name="logits">(rows, classes), row-major.</param>
    /// <param name="targets">(rows, classes): the probability of each class; apart from the gradient.</param>
    /// <param name="rows">How many examples.</param>
    /// <param name="classes">How many classes, at least 1.</param>
    /// <param name="options">How targets are weighed; the ignored label has no meaning here.</param>
    /// <param name="losses">(rows): receives each row's loss.</param>
    /// <param name="dLogits">(rows, classes): receives the gradient; may be the logits; null for a forward pass alone.</param>
    /// <param name="pool">Null for the caller alone.</param>
    /// <exception cref="ArgumentOutOfRangeException">The smoothing is outside [0, 1].</exception>
    public static void RunSoft(
        float* logits,
        float* targets,
        nint rows,
        nint classes,
        in CrossEntropyOptions options,
        float* losses,
        float* dLogits,
        KernelPool? pool = null)
    {
        Check(logits, rows, classes, losses, dLogits, targets, rows * classes, options.ClassWeights, null, null);
        Guard.NotNull(targets, rows, nameof(targets));
        var kernel = WeightedCrossEntropyKernel.Create(logits, rows, classes, in options, losses, dLogits);
        kernel.Targets = targets;
        RangeRunner.Run(kernel, rows, 1, Softmax.Grain(classes), pool);
    }

    /// <summary>p = softmax of every row of x, both (rows, classes); p may be x. The same as <see cref="Softmax.Forward"/>.</summary>
    public static void Probabilities(float* x, nint rows, nint classes, float* p, KernelPool? pool = null) =>
        Softmax.Forward(x, rows, classes, p, pool);

    internal static void Check(
        float* logits, nint rows, nint classes, float* losses, float* dLogits, void* targets, nint targetSize, float* classWeights, float* weights, byte* correct)
    {
        Guard.Length(rows, nameof(rows));
        Guard.Stride(classes, 1, nameof(classes));
        Guard.NotNull(logits, rows, nameof(logits));
        Guard.NotNull(losses, rows, nameof(losses));
        nint size = rows * classes;
        if (dLogits != null) Guard.SameOrApart(dLogits, logits, size);
        var target = new Floats(targets, targetSize);
        var classWeight = new Floats(classWeights, classes);
        Guard.Apart([new(dLogits, size)], [target, classWeight]);
        Guard.Apart([new(losses, rows), new(weights, rows)], [new(logits, size), new(dLogits, size), target, classWeight]);
        Guard.BytesApart(correct, rows, logits, size * sizeof(float));
        Guard.BytesApart(correct, rows, dLogits, size * sizeof(float));
        Guard.BytesApart(correct, rows, targets, targetSize * sizeof(float));
        Guard.BytesApart(correct, rows, losses, rows * sizeof(float));
        Guard.BytesApart(correct, rows, weights, rows * sizeof(float));
    }

    internal static void CheckLabels(int* labels, nint rows, nint classes, int? ignored)
    {
        for (nint row = 0; row < rows; row++)
        {
            if ((uint)labels[row] >= (ulong)classes && labels[row] != ignored) Guard.ThrowLabel(row, labels[row], (int)classes);
        }
    }
}
