using System.Text;
using DistTrain.Core;
using DistTrain.Optim;
using DistTrain.Training.Checkpoints;
using DistTrain.Training.Coordinator;

namespace DistTrain.Training.Tests.Checkpoints;

public sealed class CheckpointStoreTests : IDisposable
{
    private readonly Fixture _fixture = new();

    public void Dispose() => _fixture.Dispose();

    [Fact]
    public void Save_ThenLoad_GivesBackEverything()
    {
        string path = _fixture.Save(_fixture.Store(), 500);
        Assert.Equal(Path.Combine(_fixture.Directory, "step-00000500"), path);
        Assert.Equal(["manifest.json", "model.safetensors", "optimizer.safetensors"], Directory.GetFiles(path).Select(f => Path.GetFileName(f)).Order());
        using LoadedCheckpoint loaded = CheckpointStore.Load(path);
        Fixture.AssertHolds(loaded, 500);
        CheckpointManifest expected = Fixture.Manifest(500);
        CheckpointManifest manifest = loaded.Manifest;
        Assert.Equal(
            (expected.JobName, expected.JobHash, expected.DataHash, expected.NumericsRevision, expected.Seed, expected.Epoch, expected.EpochPosition, expected.Optimizer, expected.Job),
            (manifest.JobName, manifest.JobHash, manifest.DataHash, manifest.NumericsRevision, manifest.Seed, manifest.Epoch, manifest.EpochPosition, manifest.Optimizer, manifest.Job));
        Assert.Equal(expected.Metrics, manifest.Metrics);
        Assert.Equal(expected.CoordinatorRecord, manifest.CoordinatorRecord);
        Assert.Equal(Fixture.Now, manifest.Created);
        Assert.Equal(Fixture.StateVectors, manifest.StateVectors.ToArray());
        Assert.Equal(Fixture.Layout.Tensors.Select(t => (t.Name, t.Role, t.Offset)), loaded.Layout.Tensors.Select(t => (t.Name, t.Role, t.Offset)));
        Assert.Equal(["0.weight", "0.bias", "1.mean"], loaded.Model.Tensors.Select(t => t.Name));
        Assert.Equal(["moment1.0.weight", "moment1.0.bias", "moment1.1.mean", "moment2.0.weight", "moment2.0.bias", "moment2.1.mean"], loaded.Optimizer.Tensors.Select(t => t.Name));
        Assert.Contains("checkpoint " + path + " has no optimizer state 'velocity'; the optimizer 'adam' saved moment1, moment2", Assert.Throws<DistTrainException>(() => loaded.Read("velocity", 0, new float[1])).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Manifest_IsReadableJsonThatEndsInItsOwnHash()
    {
        string text = File.ReadAllText(Path.Combine(_fixture.Save(_fixture.Store(), 5), "manifest.json"));
        Assert.Contains("\n  \"numerics_revision\": 3,\n  \"seed\": 18446744073709551615,\n  \"version\": 5,\n", text, StringComparison.Ordinal);
        Assert.Contains("\"job\": \"name: tiny\\ndata: { name: \\\"digits\\\" } # <größe>\\n\"", text, StringComparison.Ordinal);
        Assert.Contains("\"coordinator_record\": \"AQL/\"", text, StringComparison.Ordinal);
        Assert.Matches("\"manifest_sha256\": \"[0-9a-f]{64}\"\n}\n$", text);
    }

    [Fact]
    public void Save_WithoutOptimizerState_Works()
    {
        CheckpointStore store = _fixture.Store();
        using (CheckpointDraft draft = store.Begin(1, Fixture.Layout, []))
        {
            draft.Write("weights", 0, Fixture.Vector("weights", 1));
            draft.Complete(Fixture.Manifest(1));
        }

        using LoadedCheckpoint? latest = store.Latest();
        Assert.Empty(latest!.Optimizer.Tensors);
    }

    [Fact]
    public void Save_BeyondKeep_RemovesTheOldestOnly()
    {
        CheckpointStore store = _fixture.Store(keep: 2);
        foreach (long version in (long[])[100, 9, 30, 40]) _fixture.Save(store, version);
        // 100 is of another past: versions above the one just saved are left alone.
        Assert.Equal(["step-00000030", "step-00000040", "step-00000100"], _fixture.Names());
        Assert.Empty(_fixture.Warnings);
    }

    [Fact]
    public void Save_SameVersionAgain_KeepsTheOneThatStandsUnlessItIsDamaged()
    {
        string path = _fixture.Save(_fixture.Store(), 7);
        DateTime written = File.GetLastWriteTimeUtc(Path.Combine(path, "manifest.json"));
        _fixture.Save(_fixture.Store(), 7);
        Assert.Equal(written, File.GetLastWriteTimeUtc(Path.Combine(path, "manifest.json")));
        Assert.Equal(["step-00000007"], _fixture.Names());
        File.WriteAllText(Path.Combine(path, "model.safetensors"), "damaged");
        _fixture.Save(_fixture.Store(), 7);
        using LoadedCheckpoint latest = CheckpointStore.Load(path);
        Fixture.AssertHolds(latest, 7);
        Assert.Equal(["step-00000007"], _fixture.Names());
    }

    [Fact]
    public void Begin_LeftoversOfEarlierLives_AreRemoved()
    {
        _fixture.Save(_fixture.Store(), 1);
        Directory.CreateDirectory(Path.Combine(_fixture.Directory, ".writing-step-00000002-abc"));
        File.WriteAllText(Path.Combine(_fixture.Directory, ".writing-step-00000002-abc", "model.safetensors"), "half");
        Directory.CreateDirectory(Path.Combine(_fixture.Directory, ".discarded-step-00000000-abc"));
        Directory.CreateDirectory(Path.Combine(_fixture.Directory, "step-final"));
        CheckpointStore store = _fixture.Store();
        using (LoadedCheckpoint? latest = store.Latest()) Fixture.AssertHolds(latest!, 1);
        Assert.Equal(4, _fixture.Names().Length);
        _fixture.Save(store, 3);
        Assert.Equal(["step-00000001", "step-00000003", "step-final"], _fixture.Names());
    }

    [Fact]
    public void Dispose_BeforeComplete_LeavesNothing()
    {
        using (CheckpointDraft draft = _fixture.Store().Begin(1, Fixture.Layout, Fixture.StateVectors))
        {
            Fixture.Fill(draft, 1);
            Assert.Single(_fixture.Names());
        }

        Assert.Empty(_fixture.Names());
    }

    [Fact]
    public void Complete_WithAPieceMissing_IsAnInternalErrorAndNoCheckpoint()
    {
        using CheckpointDraft draft = _fixture.Store().Begin(1, Fixture.Layout, Fixture.StateVectors);
        draft.Write("weights", 0, Fixture.Vector("weights", 1));
        draft.Write("moment1", 0, Fixture.Vector("moment1", 1));
        draft.Write("moment2", 0, Fixture.Vector("moment2", 1).AsSpan(0, 16));
        var e = Assert.Throws<DistTrainException>(() => draft.Complete(Fixture.Manifest(1)));
        Assert.Equal(ExitCode.Internal, e.ExitCode);
        Assert.Contains("elements from 0 of tensor 'moment2.0.bias' were never written", e.Message, StringComparison.Ordinal);
        Assert.Null(_fixture.Store().Latest());
        Assert.Throws<ArgumentException>(() => draft.Write("momentum", 0, new float[1]));
        Assert.Throws<ArgumentOutOfRangeException>(() => draft.Write("weights", Fixture.Layout.Length, new float[1]));
        Assert.Throws<ArgumentException>(() => draft.Complete(Fixture.Manifest(2)));
    }

    [Fact]
    public void Latest_NewestDamaged_FallsBackAndSaysWhy()
    {
        CheckpointStore store = _fixture.Store();
        Assert.Null(store.Latest());
        _fixture.Save(store, 1);
        string second = _fixture.Save(store, 2);
        string third = _fixture.Save(store, 3);
        File.Delete(Path.Combine(third, "manifest.json"));
        byte[] model = File.ReadAllBytes(Path.Combine(second, "model.safetensors"));
        model[^1] ^= 1;
        File.WriteAllBytes(Path.Combine(second, "model.safetensors"), model);
        using (LoadedCheckpoint? latest = store.Latest()) Fixture.AssertHolds(latest!, 1);
        Assert.Equal(2, _fixture.Warnings.Count);
        Assert.Equal($"checkpoint passed over: {third}: not a complete checkpoint: it has no manifest.json", _fixture.Warnings[0]);
        Assert.Matches($"^checkpoint passed over: {second}/model.safetensors: damaged: its SHA-256 is [0-9a-f]{{64}}, the manifest says [0-9a-f]{{64}}$", _fixture.Warnings[1]);
    }

    [Fact]
    public void Find_StoreWithABestVersion_OpensThatWhichStaysBeyondTheOnesToKeep()
    {
        CheckpointStore store = _fixture.Store(keep: 1);
        var record = new EvaluationRecord { Version = 5, Best = new BestModel(2, 0.5, 0.9), Since = 3 };
        for (long version = 1; version <= 5; version++)
        {
            using CheckpointDraft draft = store.Begin(version, Fixture.Layout, Fixture.StateVectors);
            Fixture.Fill(draft, version);
            draft.Complete(Fixture.Manifest(version) with { CoordinatorRecord = version < 2 ? [] : record.ToBytes() }, version < 2 ? null : 2);
        }

        Assert.Equal(["step-00000002", "step-00000005"], _fixture.Names());
        using (LoadedCheckpoint found = CheckpointStore.Find(_fixture.Directory, _fixture.Warnings.Add)) Fixture.AssertHolds(found, 2);
        using (LoadedCheckpoint? latest = store.Latest()) Assert.Equal(5, latest!.Manifest.Version);
        Assert.Empty(_fixture.Warnings);
        File.Delete(Path.Combine(_fixture.Directory, "step-00000002", "manifest.json"));
        using (LoadedCheckpoint found = CheckpointStore.Find(_fixture.Directory, _fixture.Warnings.Add)) Fixture.AssertHolds(found, 5);
        Assert.StartsWith("the best version's checkpoint is passed over:", Assert.Single(_fixture.Warnings), StringComparison.Ordinal);
    }

    [Fact]
    public void Find_CheckpointOrStore_OpensIt()
    {
        string first = _fixture.Save(_fixture.Store(), 1);
        string second = _fixture.Save(_fixture.Store(), 2);
        using (LoadedCheckpoint found = CheckpointStore.Find(first, _fixture.Warnings.Add)) Assert.Equal(1, found.Manifest.Version);
        using (LoadedCheckpoint found = CheckpointStore.Find(_fixture.Directory, _fixture.Warnings.Add)) Assert.Equal(2, found.Manifest.Version);
        File.Delete(Path.Combine(first, "manifest.json"));
        File.Delete(Path.Combine(second, "optimizer.safetensors"));
        Assert.Equal($"{_fixture.Directory}: none of its 2 checkpoints is whole", Assert.Throws<DistTrainException>(() => CheckpointStore.Find(_fixture.Directory, _fixture.Warnings.Add)).Message);
        string nowhere = Path.Combine(_fixture.Directory, "nowhere");
        Assert.Equal($"{nowhere}: no such checkpoint", Assert.Throws<DistTrainException>(() => CheckpointStore.Find(nowhere, _fixture.Warnings.Add)).Message);
    }

    [Fact]
    public void RequireSameModel_OfAnotherModel_NamesTheTensors()
    {
        string path = _fixture.Save(_fixture.Store(), 1);
        using LoadedCheckpoint checkpoint = CheckpointStore.Load(path);
        ModelComparison.RequireSameModel(path, checkpoint.Manifest, Fixture.Layout.Tensors.Select(t => (t.Name, t.Shape)));
        var e = Assert.Throws<DistTrainException>(() => ModelComparison.RequireSameModel(path, checkpoint.Manifest, [("0.weight", [4, 5]), ("0.bias", [3]), ("1.mean", [2]), ("2.bias", [1])]));
        Assert.Equal((ExitCode.BadData, $"checkpoint {path} is of another model: tensor 0.weight is [3, 5] there, [4, 5] here; missing: 2.bias"), (e.ExitCode, e.Message));
    }

    [Theory]
    [InlineData("\"format\": 1", "\"format\": 2", "checkpoint format 2; this build reads format 1")]
    [InlineData("\"format\": 1,", "", "it has no member 'format'")]
    [InlineData("\"moment2\"", "\"moment2\", \"moment3\"", "not the tensors that the manifest lists: 6 tensors instead of 9")]
    [InlineData("\"version\": 1", "\"version\": -1", "a negative version")]
    [InlineData("\"seed\": 18446744073709551615", "\"seed\": -1", "not a checkpoint's manifest")]
    [InlineData("\"job_hash\": \"job hash\",", "", "not a checkpoint's manifest")]
    [InlineData("\"job_hash\": \"job hash\"", "\"job_hash\": null", "not a checkpoint's manifest")]
    [InlineData("\"job_hash\"", "\"job_hush\": 1, \"job_hash\"", "not a checkpoint's manifest")]
    [InlineData("\"name\": \"0.bias\"", "\"name\": \"0.weight\"", "two tensors are called '0.weight'")]
    [InlineData("\"name\": \"model.safetensors\"", "\"name\": \"../model.safetensors\"", "lists the files ../model.safetensors")]
    [InlineData("3,\n        5", "3,\n        6", "not the tensors that the manifest lists: tensor 0.weight is [3, 5] there, [3, 6] here")]
    [InlineData("3,\n        5", "2147483647,\n        2147483647,\n 2147483647", "not a checkpoint's manifest")]
    public void Load_ManifestThatIsHashedRightButWrong_IsRefused(string find, string replace, string message)
    {
        string path = _fixture.Save(_fixture.Store(), 1);
        string file = Path.Combine(path, "manifest.json");
        string text = File.ReadAllText(file);
        Assert.Contains(find, text, StringComparison.Ordinal);
        int at = text.IndexOf(find, StringComparison.Ordinal);
        File.WriteAllBytes(file, Rehash(text[..at] + replace + text[(at + find.Length)..]));
        var e = Assert.Throws<DistTrainException>(() => CheckpointStore.Load(path));
        Assert.Equal(ExitCode.BadData, e.ExitCode);
        Assert.Contains(message, e.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Load_SeededMutationsOfAManifestHashedRight_OnlyEverRefuses()
    {
        string path = _fixture.Save(_fixture.Store(), 1);
        string file = Path.Combine(path, "manifest.json");
        string original = File.ReadAllText(file);
        string[] pieces = ["null", "-1", "1e999", "[]", "{}", "\"\"", "99999999999999999999", "\"tensors\"", "\"format\"", ",", "{", "}", "[", "\u00FF", "\\ud800", "0.5", "\"Buffer\"", "\"NaN\""];
        var random = new Random(4);
        for (int round = 0; round < 400; round++)
        {
            string text = original;
            for (int n = random.Next(1, 3); n > 0; n--)
            {
                // Tokens by their ends: what stands between two of them is replaced, removed or doubled.
                int start = random.Next(text.Length - 100);
                int end = start + random.Next(12);
                string middle = random.Next(3) switch { 0 => "", 1 => pieces[random.Next(pieces.Length)], _ => text[start..end] + text[start..end] };
                text = text[..start] + middle + text[end..];
            }

            File.WriteAllBytes(file, Rehash(text));
            try
            {
                CheckpointStore.Load(path).Dispose();
            }
            catch (DistTrainException e)
            {
                Assert.Equal(ExitCode.BadData, e.ExitCode);
            }
        }
    }

    [Fact]
    public void Begin_VectorsOfTheSameName_Throws()
    {
        Assert.Throws<ArgumentException>(() => _fixture.Store().Begin(1, Fixture.Layout, ["m", "m"]));
        Assert.Throws<ArgumentException>(() => _fixture.Store().Begin(1, Fixture.Layout, ["weights"]));
    }

    private static byte[] Rehash(string text)
    {
        string zeroed = text[..^68] + new string('0', 64) + "\"\n}\n";
        string hash = Convert.ToHexStringLower(System.Security.Cryptography.SHA256.HashData(Encoding.UTF8.GetBytes(zeroed)));
        return Encoding.UTF8.GetBytes(text[..^68] + hash + "\"\n}\n");
    }
}
