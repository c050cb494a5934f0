using Google.Protobuf.Reflection;

namespace DistTrain.Transport.Grpc;

/// <summary>Finds the file that declares a symbol or an extension. Immutable.</summary>
internal sealed class DescriptorIndex
{
    private readonly Dictionary<string, FileDescriptor> _files = new(StringComparer.Ordinal);
    private readonly Dictionary<string, FileDescriptor> _symbols = new(StringComparer.Ordinal);
    private readonly SortedDictionary<(string Type, int Number), FileDescriptor> _extensions = [];

    public DescriptorIndex(IEnumerable<FileDescriptor> roots)
    {
        foreach (FileDescriptor file in Closure(roots)) Add(file);
    }

    /// <summary>The files and everything that they import, each once, a file ahead of its imports.</summary>
    public static IReadOnlyList<FileDescriptor> Closure(IEnumerable<FileDescriptor> roots)
    {
        var files = new List<FileDescriptor>();
        var seen = new HashSet<string>(StringComparer.Ordinal);
        var queue = new Queue<FileDescriptor>(roots);
        while (queue.TryDequeue(out FileDescriptor? file))
        {
            if (!seen.Add(file.Name)) continue;
            files.Add(file);
            foreach (FileDescriptor import in file.Dependencies) queue.Enqueue(import);
        }

        return files;
    }

    public FileDescriptor? ByName(string name) => _files.GetValueOrDefault(name);

    public FileDescriptor? BySymbol(string symbol) => _symbols.GetValueOrDefault(symbol.TrimStart('.'));

    public FileDescriptor? ByExtension(string type, int number) => _extensions.GetValueOrDefault((type.TrimStart('.'), number));

    public IEnumerable<int> ExtensionsOf(string type) => _extensions.Keys.Where(k => k.Type == type.TrimStart('.')).Select(k => k.Number);

    private void Add(FileDescriptor file)
    {
        _files[file.Name] = file;
        foreach (ServiceDescriptor service in file.Services)
        {
            Add(service);
            foreach (MethodDescriptor method in service.Methods) Add(method);
        }

        foreach (EnumDescriptor type in file.EnumTypes) AddEnum(type);
        foreach (MessageDescriptor message in file.MessageTypes) AddMessage(message);
        AddExtensions(file.Extensions.UnorderedExtensions);
    }

    private void AddMessage(MessageDescriptor message)
    {
        Add(message);
        foreach (FieldDescriptor field in message.Fields.InDeclarationOrder()) Add(field);
        foreach (OneofDescriptor oneof in message.Oneofs) Add(oneof);
        foreach (EnumDescriptor type in message.EnumTypes) AddEnum(type);
        foreach (MessageDescriptor nested in message.NestedTypes) AddMessage(nested);
        AddExtensions(message.Extensions.UnorderedExtensions);
    }

    private void AddEnum(EnumDescriptor type)
    {
        Add(type);
        foreach (EnumValueDescriptor value in type.Values) Add(value);
    }

    private void AddExtensions(IEnumerable<FieldDescriptor> extensions)
    {
        foreach (FieldDescriptor extension in extensions)
        {
            Add(extension);
            _extensions[(extension.ExtendeeType.FullName, extension.FieldNumber)] = extension.File;
        }
    }

    private void Add(IDescriptor descriptor) => _symbols[descriptor.FullName] = descriptor.File;
}
