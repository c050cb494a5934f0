namespace DistTrain;

/// <summary>How a process listens or joins: addresses, TLS and token.</summary>
public sealed record NetworkOptions
{
    /// <summary>Where to listen, <c>host:port</c>; port 0 takes a free one.</summary>
    public string Listen { get; init; } = "127.0.0.1:0";

    /// <summary>The coordinator to join, <c>host:port</c>.</summary>
    public string? Join { get; init; }

    /// <summary>The name or address that others reach this process by, when it differs from the listening one.</summary>
    public string? Advertise { get; init; }

    /// <summary>The job's secret; null for none.</summary>
    public string? Token { get; init; }

    /// <summary>PEM file of this process's certificate chain; null for no TLS.</summary>
    public string? CertificateFile { get; init; }

    /// <summary>PEM file of its private key.</summary>
    public string? KeyFile { get; init; }

    /// <summary>PEM file of the authority that peers' certificates must come from; null uses no TLS towards them.</summary>
    public string? CaFile { get; init; }

    /// <summary>Whether those who connect must show a certificate of <see cref="CaFile"/>'s.</summary>
    public bool MutualTls { get; init; }

    /// <summary>Listening beyond loopback without TLS and token was asked for by name.</summary>
    public bool Insecure { get; init; }

    /// <summary>How long to wait for the others.</summary>
    public TimeSpan JoinTimeout { get; init; } = TimeSpan.FromSeconds(60);
}

/// <summary>The files in which a run is recorded.</summary>
/// <param name="Trace">Where to write a trace of what all members did; null for nowhere.</param>
/// <param name="Audit">Where to write which examples each step used, a line of JSON for each; null for nowhere. A run that resumes goes on with the file.</param>
public sealed record RunRecords(string? Trace = null, string? Audit = null);

/// <summary>What a coordinator's process is told beside the job.</summary>
public sealed record CoordinatorOptions
{
    /// <summary>Addresses, TLS and token.</summary>
    public NetworkOptions Network { get; init; } = new();

    /// <summary>All members run on this machine.</summary>
    public bool Local { get; init; }

    /// <summary>Goes on from the newest checkpoint of the job.</summary>
    public bool Resume { get; init; }

    /// <summary>The coordinator that this one follows, whose cluster it goes on with; null for a new beginning.</summary>
    public CoordinatorLoss? Follows { get; init; }

    /// <summary>What is written of the run beside its checkpoints.</summary>
    public RunRecords Records { get; init; } = new();

    /// <summary>Called with the bound address, <c>host:port</c>, as soon as members can join.</summary>
    public Action<string>? Bound { get; init; }
}

/// <summary>A coordinator that ended before its job did.</summary>
/// <param name="Pid">Its process; 0 where that isn't known.</param>
/// <param name="Since">When the job began: earlier checkpoints in the run's directory are of another run.</param>
/// <param name="Cause">How it ended, in words.</param>
public sealed record CoordinatorLoss(int Pid, DateTimeOffset Since, string Cause);

/// <summary>What a worker's or server's process is told; the job comes from the coordinator.</summary>
public sealed record MemberOptions
{
    /// <summary>Addresses, TLS and token.</summary>
    public NetworkOptions Network { get; init; } = new();

    /// <summary>Threads that compute.</summary>
    public int Threads { get; init; } = 1;

    /// <summary>The cores that they are pinned to, as in <c>0-3,6</c>; null lets the system move them.</summary>
    public string? Cores { get; init; }

    /// <summary>Whether a worker's process has a parameter server in it, too, a member of its own that listens as <see cref="Network"/> says.</summary>
    public bool WithServer { get; init; }

    /// <summary>Called with lines for a person: waiting for whom, joined as what.</summary>
    public Action<string>? Log { get; init; }
}
