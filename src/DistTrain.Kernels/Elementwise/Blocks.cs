using System.Runtime.CompilerServices;

namespace DistTrain.Kernels;

/// <summary>How a formula over several arrays reads and writes them: whole vectors, pairs of them, or the rest of a row.</summary>
internal unsafe interface IBlock<TVector>
    where TVector : struct, IArithmetic<TVector>
{
    TVector Load(float* source);

    void Store(float* target, TVector value);
}

/// <summary>A formula for the elements that begin at an index of its arrays.</summary>
internal interface IBlockFormula
{
    void Apply<TVector, TBlock>(TBlock block, nint at)
        where TVector : struct, IArithmetic<TVector>
        where TBlock : struct, IBlock<TVector>;
}

/// <summary>Applies a formula to elements [begin, end), as wide as it goes.</summary>
internal static unsafe class BlockTraversal
{
    public static void Run<T, TFormula>(TFormula formula, nint begin, nint end)
        where T : struct, ILanes<T>
        where TFormula : struct, IBlockFormula
    {
        nint i = begin;
        if (typeof(T) == typeof(Lanes512))
        {
            for (; i <= end - Lanes512Pair.Count; i += Lanes512Pair.Count) formula.Apply<Lanes512Pair, Pair>(default, i);
        }
        for (; i <= end - 16; i += 16) formula.Apply<T, Whole<T>>(default, i);
        if (i < end) formula.Apply<T, Part<T>>(new Part<T>((int)(end - i)), i);
    }

    private readonly struct Pair : IBlock<Lanes512Pair>
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public Lanes512Pair Load(float* source) => Lanes512Pair.Load(source);

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public void Store(float* target, Lanes512Pair value) => Lanes512Pair.Store(target, value);
    }

    private readonly struct Whole<T> : IBlock<T>
        where T : struct, ILanes<T>
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public T Load(float* source) => T.Load(source);

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public void Store(float* target, T value) => T.Store(target, value);
    }

    private readonly struct Part<T>(int count) : IBlock<T>
        where T : struct, ILanes<T>
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public T Load(float* source) => T.LoadPartial(source, count);

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public void Store(float* target, T value) => T.StorePartial(target, value, count);
    }
}
