package io.nit.core.bundle;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import io.nit.core.bundle.EngineManifest.Hardware;
import io.nit.core.bundle.EngineManifest.Host;
import io.nit.core.bundle.EngineManifest.Mismatch;
import io.nit.core.bundle.EngineManifest.Place;
import io.nit.core.bundle.EngineManifest.Plugins;
import io.nit.core.bundle.EngineManifest.Profile;
import io.nit.core.bundle.EngineManifest.Traits;
import io.nit.core.bundle.EngineManifest.Weights;
import io.nit.core.bundle.EngineSubject.PictureProfile;
import io.nit.core.config.DcAeConfig;
import io.nit.core.config.NitConfig;
import io.nit.core.io.Sha256;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class EngineManifestTest {
  private static final Host H100 =
      new Host("10.6.0", "12.6", "NVIDIA H100", "9.0", Optional.of(new Plugins("0.1.0", "abc")));

  @TempDir Path folder;

  private EngineManifest manifest(String name, String precision, Host host) throws IOException {
    EngineSubject subject =
        new EngineSubject.Model(
            NitConfig.s(), List.of(new Profile(512, 512), new Profile(2048, 1024)));
    return write(name, subject, precision, host, Traits.NONE);
  }

  private EngineManifest write(
      String name, EngineSubject subject, String precision, Host host, Traits traits)
      throws IOException {
    Files.write(folder.resolve(name), new byte[100]);
    EngineManifest manifest =
        new EngineManifest(
            name,
            100,
            "hash",
            "model",
            subject,
            precision,
            host,
            traits,
            JsonNodeFactory.instance.arrayNode().add("measured"),
            "nit-export engine bundles/s --overwrite",
            JsonNodeFactory.instance.objectNode().put("tool", "nit-export"));
    manifest.write(folder);
    return manifest;
  }

  @Test
  void whatIsWrittenIsRead() throws IOException {
    EngineManifest written = manifest("a.plan", "BF16", H100);
    assertEquals(written, EngineManifest.read(folder.resolve("a.plan")));
    Host plain = new Host("10.6.0", "12.6", "NVIDIA H100", "9.0", Optional.empty());
    written = manifest("b.plan", "F32", plain);
    assertEquals(written, EngineManifest.read(folder.resolve("b.plan")));
  }

  @Test
  void profilesTellTheirPlanAndThoseThatDoNotStandInTheMainOne() throws IOException {
    EngineSubject subject =
        new EngineSubject.Model(
            NitConfig.s(), List.of(new Profile(512, 512, PackPlan.SMALL), new Profile(4096, 1024)));
    EngineManifest written = write("a.plan", subject, "BF16", H100, Traits.NONE);
    Path file = EngineManifest.fileOf(folder.resolve("a.plan"));
    String text = Files.readString(file);
    assertTrue(text.contains("\"plan\" : \"small\""), text);
    assertTrue(!text.contains("\"plan\" : \"main\""), text);
    assertEquals(written, EngineManifest.read(folder.resolve("a.plan")));
    assertEquals(List.of(PackPlan.MAIN, PackPlan.SMALL), written.packPlans());
    assertEquals(
        "512 tokens in 512 images (small plan), 4096 tokens in 1024 images", subject.sizes());
    assertEquals(
        List.of(
            new Mismatch(
                "profiles",
                subject.sizes(),
                "512 tokens in 512 images, 4096 tokens in 1024 images")),
        written.differences(
            "BF16",
            new EngineSubject.Model(
                NitConfig.s(), List.of(new Profile(512, 512), new Profile(4096, 1024))),
            Traits.NONE));
    Files.writeString(file, text.replace("\"small\"", "\"tiny\""));
    String message =
        assertThrows(IOException.class, () -> EngineManifest.read(folder.resolve("a.plan")))
            .getMessage();
    assertTrue(
        message.contains("a.plan.json: profiles.plan: expected one of main, small, found tiny"),
        message);
  }

  @Test
  void theSameMachineAndModelFit() throws IOException {
    EngineManifest manifest = manifest("a.plan", "BF16", H100);
    assertEquals(List.of(), manifest.mismatches(H100, folder, Optional.of("model")));
    assertEquals(List.of(), manifest.mismatches(H100, folder, Optional.empty()));
  }

  @ParameterizedTest
  @CsvSource({
    "10.7.0, 12.6, NVIDIA H100, 9.0, 0.1.0, abc, model, 'tensorrt: expected 10.6.0, found 10.7.0'",
    "10.6.0, 13.0, NVIDIA H100, 9.0, 0.1.0, abc, model, 'cuda: expected 12.6, found 13.0'",
    "10.6.0, 12.6, NVIDIA L4, 9.0, 0.1.0, abc, model,"
        + " 'gpu.name: expected NVIDIA H100, found NVIDIA L4'",
    "10.6.0, 12.6, NVIDIA H100, 8.9, 0.1.0, abc, model,"
        + " 'gpu.compute_capability: expected 9.0, found 8.9'",
    "10.6.0, 12.6, NVIDIA H100, 9.0, 0.2.0, abc, model,"
        + " 'plugins.version: expected 0.1.0, found 0.2.0'",
    "10.6.0, 12.6, NVIDIA H100, 9.0, 0.1.0, def, model, 'plugins.sha256: expected abc, found def'",
    "10.6.0, 12.6, NVIDIA H100, 9.0, 0.1.0, abc, other, 'model.sha256: expected model, found other'"
  })
  void everyFieldThatDiffersIsNamedWithTheLineThatBuildsAgain(
      String tensorrt,
      String cuda,
      String gpu,
      String capability,
      String version,
      String hash,
      String model,
      String expected)
      throws IOException {
    EngineManifest manifest = manifest("a.plan", "BF16", H100);
    Host host = new Host(tensorrt, cuda, gpu, capability, Optional.of(new Plugins(version, hash)));
    List<Mismatch> found = manifest.mismatches(host, folder, Optional.of(model));
    assertEquals(
        "a.plan does not fit: "
            + expected
            + ". Build it again with: nit-export engine bundles/s --overwrite",
        manifest.refusal(found, Place.in(folder.resolve("a.plan"), 0)));
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "/b/engine-bf16.plan | /b | 0 | nit-export engine /b --precision bf16 --overwrite",
        "/b/engine-bf16.plan | /b | 3 | nit-export engine /b --precision bf16 --device 3"
            + " --overwrite",
        "/b/other.plan | /b | 0 | nit-export engine /b --precision bf16 --output /b/other.plan"
            + " --overwrite",
        "/c/engine-bf16.plan | /b | 0 | nit-export engine /b --precision bf16 --output"
            + " /c/engine-bf16.plan --overwrite",
        "/x/../my b/engine-bf16.plan | /my b | 0 | nit-export engine '/my b' --precision bf16"
            + " --overwrite",
        "/b/it's.plan | /b | 0 | nit-export engine /b --precision bf16 --output '/b/it'\\''s.plan'"
            + " --overwrite"
      })
  void theLineThatBuildsAgainNamesThePlaceWhereTheEngineIsMet(
      Path file, Path bundle, int device, String expected) throws IOException {
    EngineManifest manifest =
        manifest("a.plan", "BF16", H100)
            .withCommand("nit-export engine {bundle} --precision bf16{output}{device} --overwrite");
    Place place = new Place(file, bundle, device);
    assertEquals(expected, manifest.command(place));
    assertEquals("Build it again with: " + expected, manifest.again(place));
    // A manifest from before: the line as it stands.
    assertEquals(
        "nit-export engine /old/b --overwrite",
        manifest.withCommand("nit-export engine /old/b --overwrite").command(place));
  }

  private EngineManifest portable(Traits traits) throws IOException {
    EngineSubject subject = new EngineSubject.Model(NitConfig.s(), List.of(new Profile(512, 512)));
    EngineManifest manifest = write("p.plan", subject, "BF16", H100, traits);
    assertEquals(manifest, EngineManifest.read(folder.resolve("p.plan")));
    return manifest;
  }

  private String firstMismatch(EngineManifest manifest, Host host) throws IOException {
    List<Mismatch> found = manifest.mismatches(host, folder, Optional.of("model"));
    return found.isEmpty() ? "none" : found.get(0).toString();
  }

  @ParameterizedTest
  @CsvSource({
    "10.6.0, 12.6, none",
    "10.7.0, 12.8, none",
    "10.16.1, 12.9, none",
    "10.5.0, 12.6, 'tensorrt: expected 10.6.0 or a later 10.x, found 10.5.0'",
    "11.1.0, 12.6, 'tensorrt: expected 10.6.0 or a later 10.x, found 11.1.0'",
    "10.7.0, 13.0, 'cuda: expected 12.x, found 13.0'",
    "unknown, 12.6, 'tensorrt: expected 10.6.0 or a later 10.x, found unknown'"
  })
  void aVersionCompatiblePlanRunsOnLaterMinorVersions(String tensorrt, String cuda, String expected)
      throws IOException {
    EngineManifest manifest = portable(new Traits(true, Hardware.SAME, Weights.FIXED));
    Host host = new Host(tensorrt, cuda, H100.gpu(), H100.computeCapability(), H100.plugins());
    assertEquals(expected, firstMismatch(manifest, host));
    Host other = new Host(tensorrt, cuda, "NVIDIA L4", "8.9", H100.plugins());
    assertTrue(
        manifest.mismatches(other, folder, Optional.of("model")).stream()
            .anyMatch(mismatch -> mismatch.field().equals("gpu.name")));
  }

  @ParameterizedTest
  @CsvSource({
    "NVIDIA L4, 8.9, none",
    "NVIDIA A100, 8.0, none",
    "NVIDIA B200, 10.0, none",
    "Tesla T4, 7.5, 'gpu.compute_capability: expected 8.0 or newer, found 7.5'"
  })
  void aHardwareCompatiblePlanRunsOnOtherGpusOfItsLevel(
      String gpu, String capability, String expected) throws IOException {
    EngineManifest manifest = portable(new Traits(false, Hardware.AMPERE_PLUS, Weights.FIXED));
    assertEquals(
        expected,
        firstMismatch(manifest, new Host("10.6.0", "12.6", gpu, capability, H100.plugins())));
    assertEquals(
        "tensorrt: expected 10.6.0, found 10.7.0",
        firstMismatch(manifest, new Host("10.7.0", "12.6", gpu, "8.6", H100.plugins())));
  }

  @Test
  void aPlanWithoutWeightsSaysHowItGetsThem() throws IOException {
    EngineManifest manifest = portable(new Traits(false, Hardware.SAME, Weights.STRIPPED));
    assertEquals("none", firstMismatch(manifest, H100));
    assertEquals(
        "p.plan holds no weights (--weight-stripped); put them in with: nit-export refit b/p.plan b",
        manifest.needsWeights(Path.of("b/p.plan"), Path.of("b")).orElseThrow());
    assertEquals(
        Optional.empty(),
        portable(Traits.NONE.with(Weights.REFITTABLE)).needsWeights(Path.of("p"), Path.of("b")));
    assertEquals(
        List.of(
            new Mismatch(
                "options",
                "version-compatible no, hardware same, weights stripped",
                "version-compatible yes, hardware ampere-plus, weights fixed")),
        manifest.differences(
            "BF16", manifest.subject(), new Traits(true, Hardware.AMPERE_PLUS, Weights.FIXED)));
  }

  @Test
  void aCutOrMissingPlanAndAMissingLibraryAreNamed() throws IOException {
    EngineManifest manifest = manifest("a.plan", "BF16", H100);
    Files.write(folder.resolve("a.plan"), new byte[60]);
    assertEquals(
        List.of(new Mismatch("plan.bytes", "100", "60")),
        manifest.mismatches(H100, folder, Optional.empty()));
    Files.delete(folder.resolve("a.plan"));
    Host bare = new Host("10.6.0", "12.6", "NVIDIA H100", "9.0", Optional.empty());
    assertEquals(
        List.of(
            new Mismatch("plugins.version", "0.1.0", "none"),
            new Mismatch("plugins.sha256", "abc", "none"),
            new Mismatch("plan.bytes", "100", "no file")),
        manifest.mismatches(bare, folder, Optional.empty()));
  }

  @Test
  void anotherPrecisionOrOtherBucketsAreDifferences() throws IOException {
    EngineManifest manifest = manifest("a.plan", "BF16", H100);
    assertEquals(List.of(), manifest.differences("BF16", manifest.subject(), Traits.NONE));
    assertEquals(
        List.of(
            new Mismatch("precision", "BF16", "F16"),
            new Mismatch(
                "profiles",
                "512 tokens in 512 images, 2048 tokens in 1024 images",
                "64 tokens in 64 images")),
        manifest.differences(
            "F16",
            new EngineSubject.Model(NitConfig.s(), List.of(new Profile(64, 64))),
            Traits.NONE));
  }

  @Test
  void aPlanOfTheSameSizeIsToldByItsHash() throws IOException {
    EngineManifest manifest = manifest("a.plan", "BF16", H100);
    String hash = Sha256.of(folder.resolve("a.plan"));
    assertEquals(
        Optional.of(new Mismatch("plan.sha256", "hash", hash)), manifest.planDifference(folder));
    manifest = manifest.withPlan(folder.resolve("a.plan"), hash, Weights.FIXED);
    assertEquals(Optional.empty(), manifest.planDifference(folder));
    byte[] other = new byte[100];
    other[50] = 1;
    Files.write(folder.resolve("a.plan"), other);
    assertEquals(List.of(), manifest.mismatches(H100, folder, Optional.empty()));
    assertEquals("plan.sha256", manifest.planDifference(folder).orElseThrow().field());
    Files.delete(folder.resolve("a.plan"));
    assertEquals(
        Optional.of(new Mismatch("plan.sha256", hash, "no file")), manifest.planDifference(folder));
  }

  @Test
  void anOpenedPlanIsComparedInItsPrecisionAndProfiles() throws IOException {
    EngineSubject subject =
        new EngineSubject.Model(
            NitConfig.s(), List.of(new Profile(512, 512, PackPlan.SMALL), new Profile(4096, 1024)));
    EngineManifest manifest = write("a.plan", subject, "BF16", H100, Traits.NONE);
    EngineSubject opened =
        new EngineSubject.Model(
            NitConfig.s(), List.of(new Profile(512, 512), new Profile(4096, 1024)));
    assertEquals(List.of(), manifest.differencesOpened(Optional.of("BF16"), opened));
    assertEquals(List.of(), manifest.differencesOpened(Optional.empty(), opened));
    EngineSubject other = new EngineSubject.Model(NitConfig.s(), List.of(new Profile(64, 32)));
    assertEquals(
        List.of(
            new Mismatch("precision", "BF16", "F16"),
            new Mismatch(
                "profiles",
                "512 tokens in 512 images, 4096 tokens in 1024 images",
                "64 tokens in 32 images")),
        manifest.differencesOpened(Optional.of("F16"), other));
  }

  @Test
  void plansOfAFolderComeWithTheFastPrecisionsFirst() throws IOException {
    manifest("c.plan", "F32", H100);
    manifest("b.plan", "F16", H100);
    manifest("a.plan", "F16", H100);
    manifest("z.plan", "BF16", H100);
    Files.write(folder.resolve("without.plan"), new byte[1]);
    assertEquals(
        List.of("z.plan", "a.plan", "b.plan", "c.plan"),
        EngineManifest.plansIn(folder, EnginePart.MODEL).stream()
            .map(plan -> plan.getFileName().toString())
            .toList());
    assertEquals(List.of(), EngineManifest.plansIn(folder.resolve("absent"), EnginePart.MODEL));
    Files.writeString(EngineManifest.fileOf(folder.resolve("a.plan")), "{");
    Files.delete(EngineManifest.fileOf(folder.resolve("b.plan")));
    Files.createDirectory(folder.resolve("none.plan.json"));
    assertEquals(
        List.of("z.plan", "c.plan"),
        EngineManifest.plansIn(folder, EnginePart.MODEL).stream()
            .map(plan -> plan.getFileName().toString())
            .toList());
    List<EngineManifest.Found> all = EngineManifest.allIn(folder);
    assertEquals(3, all.size());
    assertEquals(Optional.empty(), all.get(2).manifest());
    assertTrue(all.get(2).problem().contains("a.plan.json: expected JSON"), all.get(2).problem());
  }

  private EngineManifest half(String name, EnginePart part, String precision) throws IOException {
    EngineSubject subject =
        new EngineSubject.Autoencoder(
            part,
            DcAeConfig.preset("f32c32-sana-1.1"),
            List.of(new PictureProfile(512, 1), new PictureProfile(1152, 2)));
    return write(name, subject, precision, H100, Traits.NONE);
  }

  @Test
  void halvesOfAnAutoencoderHaveManifestsOfTheirOwn() throws IOException {
    manifest("engine.plan", "BF16", H100);
    EngineManifest decoder = half("decoder.plan", EnginePart.DECODER, "BF16");
    half("encoder.plan", EnginePart.ENCODER, "F32");
    assertEquals(decoder, EngineManifest.read(folder.resolve("decoder.plan")));
    for (EnginePart part : EnginePart.values()) {
      assertEquals(
          List.of(folder.resolve(part.planPrefix() + ".plan")),
          EngineManifest.plansIn(folder, part));
    }
    assertEquals(List.of(), decoder.differences("BF16", decoder.subject(), Traits.NONE));
    assertEquals(
        List.of(
            new Mismatch("part", "decoder", "encoder"),
            new Mismatch(
                "profiles",
                "1 of up to 512 pixels a side, 2 of up to 1152 pixels a side",
                "1 of up to 512 pixels a side")),
        decoder.differences(
            "BF16",
            new EngineSubject.Autoencoder(
                EnginePart.ENCODER,
                DcAeConfig.preset("f32c32-sana-1.1"),
                List.of(new PictureProfile(512, 1))),
            Traits.NONE));
    String message = assertThrows(IllegalStateException.class, decoder::config).getMessage();
    assertTrue(message.contains("decoder.plan: expected a model's engine"), message);
    Path file = EngineManifest.fileOf(folder.resolve("decoder.plan"));
    Files.writeString(file, Files.readString(file).replace("\"decoder\"", "\"middle\""));
    message =
        assertThrows(IOException.class, () -> EngineManifest.read(folder.resolve("decoder.plan")))
            .getMessage();
    assertTrue(message.contains("expected model, decoder or encoder, found 'middle'"), message);
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "\"version\" : 1 | \"version\" : 2 | expected format nit-engine version 1",
        "\"tensorrt\" : \"10.6.0\" | \"tensorrt\" : 10 | tensorrt: expected a string, found 10",
        "\"tokens\" : 512 | \"tokens\" : 0 | tokens: expected 1 or more, found 0",
        "\"file\" : \"a.plan\" | \"file\" : \"../a.plan\" | plan.file: expected a name",
        "\"depth\" : 12 | \"depths\" : 12 | model.config",
        "\"precision\" | \"weights\" : \"many\", \"precision\" | weights: expected one of fixed,",
        "\"precision\" | \"compatible\": { \"hardware\": \"all\" }, \"precision\" |"
            + " compatible.hardware: expected one of same, ampere-plus, found all",
        "\"BF16\" | \"FP8\" | precision: expected one of BF16, F16, F32, found FP8",
        "{ | { { | expected JSON"
      })
  void aManifestThatIsNoneIsRefusedWithItsField(String from, String to, String message)
      throws IOException {
    manifest("a.plan", "BF16", H100);
    Path file = EngineManifest.fileOf(folder.resolve("a.plan"));
    String text = Files.readString(file);
    assertTrue(text.contains(from), text);
    Files.writeString(file, text.replace(from, to));
    String found =
        assertThrows(IOException.class, () -> EngineManifest.read(folder.resolve("a.plan")))
            .getMessage();
    assertTrue(found.contains(message) && found.contains("a.plan.json"), found);
  }

  @Test
  void noManifestIsTold() {
    assertThrows(NoSuchFileException.class, () -> EngineManifest.read(folder.resolve("none.plan")));
  }
}
