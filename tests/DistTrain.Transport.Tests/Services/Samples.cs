using System.Collections;
using System.Collections.Immutable;
using System.Globalization;
using System.Reflection;
using DistTrain.Core;
using DistTrain.Core.Channels;
using DistTrain.Core.Messages;
using DistTrain.Core.Sharding;
using DistTrain.Core.Tracing;

namespace DistTrain.Transport.Tests.Services;

/// <summary>Makes a message of any type with a different value in every field, and puts messages into words to compare them.</summary>
internal sealed class Samples(int variant)
{
    private int _next = (variant * 100) + 1;

    /// <summary>Every message that there is: the types of <typeparamref name="T"/> that can be made.</summary>
    public static IEnumerable<Type> Kinds<T>() => typeof(MemberMessage).Assembly.GetTypes().Where(t => t.IsSubclassOf(typeof(T)) && !t.IsAbstract);

    public object Make(Type type)
    {
        if (type == typeof(string)) return $"text {_next++} – ü";
        if (type == typeof(int)) return _next++;
        if (type == typeof(long)) return (1L << 40) + _next++;
        if (type == typeof(ulong)) return ulong.MaxValue - (ulong)_next++;
        if (type == typeof(bool)) return _next++ % 2 == 0;
        if (type == typeof(float)) return 1f / _next++;
        if (type == typeof(double)) return 1.0 / _next++;
        if (type == typeof(TimeSpan)) return TimeSpan.FromMilliseconds(_next++);
        if (type == typeof(ReadOnlyMemory<byte>)) return new ReadOnlyMemory<byte>([.. Enumerable.Range(0, variant * 3).Select(_ => (byte)_next++)]);
        if (type == typeof(ImmutableArray<int>)) return List<int>();
        if (type == typeof(ImmutableArray<long>)) return List<long>();
        if (type == typeof(ImmutableArray<ulong>)) return List<ulong>();
        if (type == typeof(ImmutableArray<float>)) return List<float>();
        if (type == typeof(ImmutableArray<double>)) return List<double>();
        if (type == typeof(ImmutableArray<ServerAddress>)) return List<ServerAddress>();
        if (type == typeof(ImmutableArray<AppliedStep>)) return List<AppliedStep>();
        if (type == typeof(ImmutableArray<TraceEvent>)) return List<TraceEvent>();
        if (type == typeof(TraceEvent)) return new TraceEvent { Name = TraceName.Applied, OnChannel = variant % 2 == 0, Bucket = _next++, Lo = _next++, Hi = _next++, Value = _next++, Start = _next++, Duration = _next++ };
        if (type.IsEnum) return Enum.GetValues(type) is var values ? values.GetValue(variant % values.Length)! : null!;
        ParameterInfo[] parameters = type.GetConstructors().MaxBy(c => c.GetParameters().Length)?.GetParameters() ?? [];
        object made = Activator.CreateInstance(type, [.. parameters.Select(p => Make(p.ParameterType))])!;
        foreach (PropertyInfo property in Fields(type).Where(p => p.CanWrite && parameters.All(c => c.Name != p.Name)))
        {
            property.SetValue(made, Make(Nullable.GetUnderlyingType(property.PropertyType) ?? property.PropertyType));
        }

        return made;
    }

    public static string Describe(object? value) => value switch
    {
        null => "null",
        string text => $"\"{text}\"",
        double number => number.ToString("R", CultureInfo.InvariantCulture),
        float number => number.ToString("R", CultureInfo.InvariantCulture),
        Enum or TimeSpan or int or long or ulong or bool or ShardRange or TraceEvent => Convert.ToString(value, CultureInfo.InvariantCulture)!,
        ReadOnlyMemory<byte> bytes => Convert.ToHexString(bytes.Span),
        IEnumerable list => $"[{string.Join(", ", list.Cast<object>().Select(Describe))}]",
        _ => $"{value.GetType().Name}({string.Join(", ", Fields(value.GetType()).Select(p => $"{p.Name} = {Describe(p.GetValue(value))}"))})",
    };

    private static IEnumerable<PropertyInfo> Fields(Type type) =>
        type.GetProperties(BindingFlags.Public | BindingFlags.Instance).Where(p => p.CanWrite);

    private ImmutableArray<T> List<T>() => [.. Enumerable.Range(0, variant).Select(_ => (T)Make(typeof(T)))];
}
