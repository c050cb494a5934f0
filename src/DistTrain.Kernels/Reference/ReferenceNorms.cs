namespace DistTrain.Kernels.Reference;

/// <summary>The norms in plain loops, in the orders that they document.</summary>
internal static unsafe class ReferenceNorms
{
    /// <summary>See <see cref="LayerNorm.Forward"/>, and <see cref="RmsNorm"/> where there is no shift.</summary>
    public static void RowsForward(float* x, int rows, int features, float* scale, float* shift, float epsilon, float* y, float* means, float* reciprocals)
    {
        float unit = 1f / features;
        var d = new float[features];
        for (int row = 0; row < rows; row++)
        {
            float* from = x + (row * features), to = y + (row * features);
            float mean = shift == null ? 0 : ReferenceReductions.Sum(new(from, features)) * unit;
            for (int i = 0; i < features; i++) d[i] = from[i] - mean;
            float variance = ReferenceReductions.Dot(d, d) * unit;
            float r = 1 / MathF.Sqrt(variance + epsilon);
            for (int i = 0; i < features; i++) to[i] = shift == null ? d[i] * r * scale[i] : MathF.FusedMultiplyAdd(d[i] * r, scale[i], shift[i]);
            if (shift != null) means[row] = mean;
            reciprocals[row] = r;
        }
    }

    /// <summary>See <see cref="LayerNorm.Backward"/>, and <see cref="RmsNorm"/> where there are no means.</summary>
    public static void RowsBackward(
        float* dy, float* x, int features, float* scale, float* means, float* reciprocals, KRange[] ranges, int[] leafStarts,
        float* dx, float* dScale, float* dShift)
    {
        float unit = 1f / features;
        float Normal(int row, int i) => (x[(row * features) + i] - (means == null ? 0 : means[row])) * reciprocals[row];

        for (int i = 0; i < features; i++)
        {
            int feature = i;
            dScale[i] = Leaves(ranges, leafStarts, (row, sum) => MathF.FusedMultiplyAdd(dy[(row * features) + feature], Normal(row, feature), sum));
            if (means != null) dShift[i] = Leaves(ranges, leafStarts, (row, sum) => sum + dy[(row * features) + feature]);
        }
        float[] t = new float[features], n = new float[features];
        foreach (KRange range in ranges)
        {
            for (int row = range.Start; row < range.Start + range.Count; row++)
            {
                for (int i = 0; i < features; i++)
                {
                    t[i] = dy[(row * features) + i] * scale[i];
                    n[i] = Normal(row, i);
                }
                float a = means == null ? 0 : ReferenceReductions.Sum(t) * unit, b = ReferenceReductions.Dot(t, n) * unit;
                for (int i = 0; i < features; i++) dx[(row * features) + i] = MathF.FusedMultiplyAdd(-n[i], b, t[i] - a) * reciprocals[row];
            }
        }
    }

    /// <summary>See <see cref="BatchNorm.Forward"/>; gives the weight.</summary>
    public static float BatchForward(
        float* x, int channels, KRange[] ranges, int[] leafStarts, float* scale, float* shift, float epsilon, float* runningMean,
        float* runningVariance, float* y, float* means, float* reciprocals, float* sums)
    {
        int leaves = leafStarts.Length - 1;
        float weight = 0;
        var leafSums = new float[leaves, 2];
        for (int c = 0; c < channels; c++)
        {
            weight = 0;
            for (int leaf = 0; leaf < leaves; leaf++)
            {
                int rows = Rows(ranges, leafStarts, leaf).Count();
                (float mean, float squares) = Statistics(x + c, channels, ranges, leafStarts, leaf);
                float variance = squares * (1f / rows);
                (leafSums[leaf, 0], leafSums[leaf, 1]) = rows < 2 ? (0, 0) : (rows * mean, rows * (squares / (rows - 1)));
                if (rows < 2) (mean, variance) = (runningMean[c], runningVariance[c]);
                else weight += rows;
                float r = 1 / MathF.Sqrt(variance + epsilon);
                means[(leaf * channels) + c] = mean;
                reciprocals[(leaf * channels) + c] = r;
                foreach (int row in Rows(ranges, leafStarts, leaf))
                    y[(row * channels) + c] = MathF.FusedMultiplyAdd((x[(row * channels) + c] - mean) * r, scale[c], shift[c]);
            }
            sums[c] = ReferenceGemm.Tree(0, leaves, leaf => leafSums[leaf, 0]);
            sums[channels + c] = ReferenceGemm.Tree(0, leaves, leaf => leafSums[leaf, 1]);
        }
        return weight;
    }

    /// <summary>See <see cref="BatchNorm.Backward"/>.</summary>
    public static void BatchBackward(
        float* dy, float* x, int channels, KRange[] ranges, int[] leafStarts, float* scale, float* means, float* reciprocals,
        float* dx, float* dScale, float* dShift)
    {
        int leaves = leafStarts.Length - 1;
        float[] shiftSums = new float[leaves], scaleSums = new float[leaves];
        for (int c = 0; c < channels; c++)
        {
            for (int leaf = 0; leaf < leaves; leaf++)
            {
                float mean = means[(leaf * channels) + c], r = reciprocals[(leaf * channels) + c], first = 0, second = 0;
                foreach (int row in Rows(ranges, leafStarts, leaf))
                {
                    float g = dy[(row * channels) + c];
                    first += g;
                    second = MathF.FusedMultiplyAdd(g, (x[(row * channels) + c] - mean) * r, second);
                }
                (shiftSums[leaf], scaleSums[leaf]) = (first, second);
                int rows = Rows(ranges, leafStarts, leaf).Count();
                float a = rows < 2 ? 0 : scale[c] * (first * (1f / rows)), b = rows < 2 ? 0 : scale[c] * (second * (1f / rows));
                foreach (int row in Rows(ranges, leafStarts, leaf))
                {
                    float n = (x[(row * channels) + c] - mean) * r;
                    dx[(row * channels) + c] = MathF.FusedMultiplyAdd(-n, b, (dy[(row * channels) + c] * scale[c]) - a) * r;
                }
            }
            dShift[c] = ReferenceGemm.Tree(0, leaves, leaf => shiftSums[leaf]);
            dScale[c] = ReferenceGemm.Tree(0, leaves, leaf => scaleSums[leaf]);
        }
    }

    /// <summary>See <see cref="GroupNorm.Forward"/>.</summary>
    public static void GroupForward(
        float* x, int examples, int positions, int channels, int groups, float* scale, float* shift, float epsilon, float* y, float* means, float* reciprocals)
    {
        int width = channels / groups;
        float unit = 1f / (positions * width);
        var sums = new float[width];
        for (int item = 0; item < examples * groups; item++)
        {
            int first = (item / groups * positions * channels) + (item % groups * width);
            Down(sums, positions, (p, c, sum) => sum + x[first + (p * channels) + c]);
            float mean = ReferenceReductions.Sum(sums) * unit;
            Down(sums, positions, (p, c, sum) =>
            {
                float d = x[first + (p * channels) + c] - mean;
                return MathF.FusedMultiplyAdd(d, d, sum);
            });
            float r = 1 / MathF.Sqrt((ReferenceReductions.Sum(sums) * unit) + epsilon);
            (means[item], reciprocals[item]) = (mean, r);
            for (int i = 0; i < positions * width; i++)
            {
                int at = first + (i / width * channels) + (i % width), c = (item % groups * width) + (i % width);
                y[at] = MathF.FusedMultiplyAdd((x[at] - mean) * r, scale[c], shift[c]);
            }
        }
    }

    /// <summary>See <see cref="GroupNorm.Backward"/>.</summary>
    public static void GroupBackward(
        float* dy, float* x, int examples, int positions, int channels, int groups, float* scale, float* means, float* reciprocals,
        KRange[] ranges, int[] leafStarts, float* dx, float* dScale, float* dShift)
    {
        int width = channels / groups;
        float unit = 1f / (positions * width);
        float[] shiftSums = new float[examples * channels], scaleSums = new float[examples * channels];
        for (int item = 0; item < examples * groups; item++)
        {
            int first = (item / groups * positions * channels) + (item % groups * width), channel = item % groups * width;
            float mean = means[item], r = reciprocals[item];
            Span<float> b = shiftSums.AsSpan((item / groups * channels) + channel, width), g = scaleSums.AsSpan((item / groups * channels) + channel, width);
            Down(b, positions, (p, c, sum) => sum + dy[first + (p * channels) + c]);
            Down(g, positions, (p, c, sum) =>
                MathF.FusedMultiplyAdd(dy[first + (p * channels) + c], (x[first + (p * channels) + c] - mean) * r, sum));
            float a = ReferenceReductions.Dot(new(scale + channel, width), b) * unit, s = ReferenceReductions.Dot(new(scale + channel, width), g) * unit;
            for (int i = 0; i < positions * width; i++)
            {
                int at = first + (i / width * channels) + (i % width);
                float n = (x[at] - mean) * r;
                dx[at] = MathF.FusedMultiplyAdd(-n, s, (dy[at] * scale[channel + (i % width)]) - a) * r;
            }
        }
        for (int c = 0; c < channels; c++)
        {
            int channel = c;
            dShift[c] = Leaves(ranges, leafStarts, (example, sum) => sum + shiftSums[(example * channels) + channel]);
            dScale[c] = Leaves(ranges, leafStarts, (example, sum) => sum + scaleSums[(example * channels) + channel]);
        }
    }

    private static void Down(Span<float> sums, int positions, Func<int, int, float, float> add)
    {
        sums.Clear();
        for (int p = 0; p < positions; p++)
            for (int c = 0; c < sums.Length; c++) sums[c] = add(p, c, sums[c]);
    }

    private static (float Mean, float Squares) Statistics(float* x, int channels, KRange[] ranges, int[] leafStarts, int leaf)
    {
        float mean = 0, squares = 0;
        int before = 0;
        for (int range = leafStarts[leaf]; range < leafStarts[leaf + 1]; range++)
        {
            for (int start = 0; start < ranges[range].Count; start += BatchNorm.StatisticsBlock)
            {
                int count = Math.Min(BatchNorm.StatisticsBlock, ranges[range].Count - start);
                float* block = x + ((ranges[range].Start + start) * channels);
                float sum = 0, square = 0;
                for (int i = 0; i < count; i++) sum += block[i * channels];
                float blockMean = sum * (1f / count);
                for (int i = 0; i < count; i++)
                {
                    float d = block[i * channels] - blockMean;
                    square = MathF.FusedMultiplyAdd(d, d, square);
                }
                float share = (float)count / (before + count), e = blockMean - mean;
                (mean, squares) = before == 0
                    ? (blockMean, square)
                    : (MathF.FusedMultiplyAdd(e, share, mean), MathF.FusedMultiplyAdd(e * e, before * share, squares + square));
                before += count;
            }
        }
        return (mean, squares);
    }

    private static IEnumerable<int> Rows(KRange[] ranges, int[] leafStarts, int leaf) =>
        ranges[leafStarts[leaf]..leafStarts[leaf + 1]].SelectMany(range => Enumerable.Range(range.Start, range.Count));

    /// <summary>A chain over the rows of each leaf, joined along the tree.</summary>
    private static float Leaves(KRange[] ranges, int[] leafStarts, Func<int, float, float> add) => ReferenceGemm.Tree(0, leafStarts.Length - 1, leaf =>
    {
        float sum = 0;
        for (int r = leafStarts[leaf]; r < leafStarts[leaf + 1]; r++)
            for (int row = ranges[r].Start; row < ranges[r].Start + ranges[r].Count; row++) sum = add(row, sum);
        return sum;
    });
}
