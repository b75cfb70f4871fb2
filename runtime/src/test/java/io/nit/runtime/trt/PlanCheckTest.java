package io.nit.runtime.trt;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ch.qos.logback.classic.Logger;
import ch.qos.logback.classic.spi.ILoggingEvent;
import ch.qos.logback.core.read.ListAppender;
import io.nit.core.bundle.Bundle;
import io.nit.core.bundle.EngineManifest;
import io.nit.core.bundle.EngineManifest.Hardware;
import io.nit.core.bundle.EngineManifest.Host;
import io.nit.core.bundle.EngineManifest.Plugins;
import io.nit.core.bundle.EngineManifest.Profile;
import io.nit.core.bundle.EngineManifest.Traits;
import io.nit.core.bundle.EngineManifest.Weights;
import io.nit.core.bundle.EnginePart;
import io.nit.core.bundle.PackPlan;
import io.nit.core.cuda.PluginLibrary;
import io.nit.core.trt.Machine;
import io.nit.core.trt.PlanFile;
import io.nit.core.trt.TensorRtException;
import io.nit.runtime.engine.EngineException;
import io.nit.runtime.engine.EngineOptions;
import io.nit.testing.TinyAutoencoder;
import java.io.FileNotFoundException;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Collections;
import java.util.List;
import java.util.Optional;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.slf4j.LoggerFactory;

/** Every fault of a plan on a machine that a fake stands for: no GPU is needed to tell it. */
class PlanCheckTest {
  private static final Host H100 =
      new Host("10.6.0", "12.6", "NVIDIA H100", "9.0", Optional.of(new Plugins("0.1.0", "abc")));

  private static final PluginLibrary LIBRARY =
      new PluginLibrary(
          Path.of("libnit_plugins.so"),
          PluginLibrary.Source.PROPERTY,
          "0.1.0",
          "13.0",
          List.of("sm_90a"),
          "abc");

  @TempDir Path folder;

  /** A machine whose every part may be broken. */
  private static class Fake implements Machine {
    Optional<String> refusal = Optional.empty();
    IOException noLibrary; // null: there is one
    Host host = H100;
    int devices = 1;

    @Override
    public Optional<String> refusal(int device) {
      return refusal;
    }

    @Override
    public PluginLibrary plugins() throws IOException {
      if (noLibrary != null) {
        throw noLibrary;
      }
      return LIBRARY;
    }

    @Override
    public Host host(int device, Optional<PluginLibrary> plugins) throws TensorRtException {
      if (device >= devices) {
        throw new TensorRtException("device: expected 0.." + (devices - 1) + ", found " + device);
      }
      return host;
    }
  }

  private void engine(Traits traits) throws IOException {
    MadeUpPlans.engine(folder, H100, traits, "nit-export engine b --overwrite");
  }

  /** What the backend says to the bundle on a machine; it opens nothing that it refuses. */
  private String refusal(Fake machine, int device) {
    Bundle bundle = MadeUpPlans.bundle(folder);
    TensorRtProvider provider = new TensorRtProvider(new PlanCheck(machine));
    EngineOptions options = new EngineOptions(0, device, EngineOptions.DecodeOptions.STANDARD);
    Optional<String> refusal = provider.refusal(bundle, options);
    if (refusal.isPresent()) {
      assertEquals(
          refusal.get(),
          assertThrows(EngineException.class, () -> provider.open(bundle, options)).getMessage());
    }
    return refusal.orElse("none");
  }

  @Test
  void thePlanOfThisMachineIsTaken() throws IOException {
    engine(Traits.NONE);
    assertEquals("none", refusal(new Fake(), 0));
  }

  @ParameterizedTest
  @CsvSource({
    "'expected a CUDA device, found none: cudaErrorInsufficientDriver, no driver'",
    "'expected a CUDA device, found none: cudaErrorNoDevice, no CUDA-capable device is detected'",
    "'expected org.bytedeco:tensorrt, found: java.lang.UnsatisfiedLinkError'"
  })
  void noDriverNoGpuAndNoTensorRtAreToldAsTheyAre(String reason) throws IOException {
    engine(Traits.NONE);
    Fake machine = new Fake();
    machine.refusal = Optional.of(reason);
    assertEquals(reason, refusal(machine, 0));
  }

  @Test
  void aDeviceThatIsNotThereIsTold() throws IOException {
    engine(Traits.NONE);
    assertEquals("device: expected 0..0, found 1", refusal(new Fake(), 1));
  }

  @Test
  void aMissingPluginLibraryIsToldWithWhereItWasLookedFor() throws IOException {
    engine(Traits.NONE);
    Fake machine = new Fake();
    machine.noLibrary = new FileNotFoundException("expected libnit_plugins.so, found none: ...");
    assertEquals(
        folder.resolve("engine.plan")
            + " needs our plugins: expected libnit_plugins.so, found none: ...",
        refusal(machine, 0));
  }

  @Test
  void aPluginLibraryThatIsNotOursIsToldAsThatAndNotAsTheEngine() throws IOException {
    engine(Traits.NONE);
    Fake machine = new Fake();
    machine.noLibrary = new IOException("lib.so: expected an ELF library, found 3 other bytes");
    assertEquals(
        folder.resolve("engine.plan")
            + " needs our plugins: lib.so: expected an ELF library, found 3 other bytes",
        refusal(machine, 0));
  }

  @ParameterizedTest
  @CsvSource({
    "10.7.0, 12.6, NVIDIA H100, 9.0, 0.1.0, 'tensorrt: expected 10.6.0, found 10.7.0'",
    "10.6.0, 13.0, NVIDIA H100, 9.0, 0.1.0, 'cuda: expected 12.6, found 13.0'",
    "10.6.0, 12.6, NVIDIA L4, 8.9, 0.1.0, 'gpu.name: expected NVIDIA H100, found NVIDIA L4;"
        + " gpu.compute_capability: expected 9.0, found 8.9'",
    "10.6.0, 12.6, NVIDIA H100, 9.0, 0.2.0, 'plugins.version: expected 0.1.0, found 0.2.0'"
  })
  void thePlanOfAnotherMachineIsRefusedWithTheLineThatBuildsItAgain(
      String tensorrt,
      String cuda,
      String gpu,
      String capability,
      String plugins,
      String difference)
      throws IOException {
    engine(Traits.NONE);
    Fake machine = new Fake();
    machine.host =
        new Host(tensorrt, cuda, gpu, capability, Optional.of(new Plugins(plugins, "abc")));
    assertEquals(
        "engine.plan does not fit: "
            + difference
            + ". Build it again with: nit-export engine b --overwrite",
        refusal(machine, 0));
  }

  @Test
  void aBundleThatWasCopiedNamesItsOwnPlaceAndTheGpuThatIsAskedFor() throws IOException {
    MadeUpPlans.engine(
        folder, H100, Traits.NONE, "nit-export engine {bundle}{output}{device} --overwrite");
    Fake machine = new Fake();
    machine.host = new Host("10.7.0", "12.6", "NVIDIA H100", "9.0", H100.plugins());
    machine.devices = 2;
    for (int device = 0; device < 2; device++) {
      assertEquals(
          "engine.plan does not fit: tensorrt: expected 10.6.0, found 10.7.0. Build it again with:"
              + " nit-export engine "
              + folder
              + " --output "
              + folder.resolve("engine.plan")
              + (device == 0 ? "" : " --device 1")
              + " --overwrite",
          refusal(machine, device));
    }
  }

  @Test
  void aTruncatedPlanIsRefusedBeforeTensorRtReadsIt() throws IOException {
    engine(Traits.NONE);
    Files.write(folder.resolve("engine.plan"), new byte[4]);
    assertTrue(
        refusal(new Fake(), 0).contains("plan.bytes: expected 10, found 4"),
        refusal(new Fake(), 0));
  }

  @Test
  void aFileHoldsThePlansOfItsManifest() throws IOException {
    Path part = Files.write(folder.resolve("part"), new byte[7]);
    Profile small = new Profile(64, 64, PackPlan.SMALL);
    Profile main = new Profile(4096, 1024);
    for (int count = 1; count <= 4; count++) {
      Path joined = folder.resolve("joined");
      PlanFile.join(Collections.nCopies(count, part), joined);
      byte[] bytes = Files.readAllBytes(joined);
      for (List<Profile> profiles : List.of(List.of(small, main), List.of(small), List.of(main))) {
        MadeUpPlans.engine(folder, H100, Traits.NONE, "nit-export engine b", profiles, bytes);
        int expected = profiles.size() + 1;
        // A file without small packs is taken as ever.
        boolean fits = count == expected || !profiles.contains(small);
        assertEquals(
            fits
                ? "none"
                : "engine.plan does not fit: plans in the file: expected "
                    + expected
                    + ", found "
                    + count
                    + ". Build it again with: nit-export engine b",
            refusal(new Fake(), 0));
      }
    }
  }

  @Test
  void aHardwareCompatiblePlanIsTakenElsewhereAndOneWithoutWeightsNowhere() throws IOException {
    engine(new Traits(false, Hardware.AMPERE_PLUS, Weights.FIXED));
    Fake machine = new Fake();
    machine.host =
        new Host("10.6.0", "12.6", "NVIDIA L4", "8.9", Optional.of(new Plugins("0.1.0", "abc")));
    assertEquals("none", refusal(machine, 0));
    engine(Traits.NONE.with(Weights.STRIPPED));
    assertEquals(
        "engine.plan holds no weights (--weight-stripped); put them in with: nit-export refit "
            + folder.resolve("engine.plan")
            + " "
            + folder,
        refusal(new Fake(), 0));
  }

  /** What the provider warns of while it opens what fits, and cannot, as this is no machine. */
  private List<String> warnings(TensorRtProvider provider) {
    Logger logger = (Logger) LoggerFactory.getLogger(TensorRtProvider.class);
    ListAppender<ILoggingEvent> lines = new ListAppender<>();
    lines.start();
    logger.addAppender(lines);
    try {
      assertThrows(
          Exception.class, () -> provider.open(MadeUpPlans.bundle(folder), EngineOptions.DEFAULT));
    } finally {
      logger.detachAppender(lines);
    }
    return lines.list.stream().map(ILoggingEvent::getFormattedMessage).toList();
  }

  @Test
  void aBrokenManifestKeepsNoOtherEngineFromBeingTaken() throws IOException {
    engine(Traits.NONE);
    Files.write(folder.resolve("broken.plan"), new byte[1]);
    Files.writeString(folder.resolve("broken.plan.json"), "{");
    TensorRtProvider provider = new TensorRtProvider(new PlanCheck(new Fake()));
    String reason =
        "an engine's manifest cannot be read: "
            + folder.resolve("broken.plan.json")
            + ": expected JSON, found: ";
    assertEquals(
        Optional.empty(), provider.refusal(MadeUpPlans.bundle(folder), EngineOptions.DEFAULT));
    List<String> warnings = warnings(provider);
    assertEquals(1, warnings.size(), warnings.toString());
    assertTrue(warnings.get(0).startsWith("model: " + reason), warnings.get(0));
    Fake other = new Fake();
    other.host = new Host("10.7.0", "12.6", "NVIDIA H100", "9.0", H100.plugins());
    String refusal = refusal(other, 0);
    assertTrue(
        refusal.startsWith("engine.plan does not fit: tensorrt: ")
            && refusal.contains("; " + reason),
        refusal);
    Files.delete(folder.resolve("engine.plan.json"));
    refusal = refusal(new Fake(), 0);
    assertTrue(
        refusal.startsWith("no engine in the bundle; nit-export engine ")
            && refusal.contains("; " + reason),
        refusal);
  }

  @Test
  void theEnginesOfAllPartsAreListedWithWhatKeepsThemFromRunning() throws IOException {
    Bundle bundle = TinyAutoencoder.bundle(folder);
    half(EnginePart.ENCODER, EngineManifest.hashOf(bundle.files(), "encoder.onnx").orElseThrow());
    half(EnginePart.DECODER, "another");
    engine(Traits.NONE);
    Files.write(folder.resolve("a.plan"), new byte[1]);
    Files.writeString(folder.resolve("a.plan.json"), "{");
    List<TensorRtProvider.Listed> all =
        new TensorRtProvider(new PlanCheck(new Fake())).engines(bundle, 0);
    assertEquals(
        List.of("engine.plan", "decoder-bf16.plan", "encoder-bf16.plan", "a.plan"),
        all.stream().map(listed -> listed.found().plan().getFileName().toString()).toList());
    String model = all.get(0).refusal().orElseThrow();
    assertTrue(model.contains("model.sha256: expected model, found "), model);
    String decoder = all.get(1).refusal().orElseThrow();
    assertTrue(decoder.contains("model.sha256: expected another, found "), decoder);
    assertEquals(Optional.empty(), all.get(2).refusal());
    assertTrue(all.get(3).found().problem().contains("a.plan.json: expected JSON"));
  }

  @Test
  void aFileOfPlansThatCannotBeReadKeepsNoOtherFromBeingTaken() throws IOException {
    Path part = Files.write(folder.resolve("part"), new byte[7]);
    Path joined = folder.resolve("joined");
    PlanFile.join(Collections.nCopies(3, part), joined);
    byte[] bytes = Files.readAllBytes(joined);
    bytes[bytes.length - 8] = 99; // how many plans there are
    MadeUpPlans.engine(
        folder,
        H100,
        Traits.NONE,
        "nit-export engine b",
        List.of(new Profile(64, 64, PackPlan.SMALL), new Profile(4096, 1024)),
        bytes);
    String refusal = refusal(new Fake(), 0);
    assertTrue(
        refusal.startsWith("engine.plan cannot be read: ")
            && refusal.contains("expected 1 to 16 plans in it, found 99")
            && refusal.endsWith("Build it again with: nit-export engine b"),
        refusal);
    Files.move(folder.resolve("engine.plan"), folder.resolve("cut.plan"));
    Path manifest = folder.resolve("engine.plan.json");
    Files.writeString(
        folder.resolve("cut.plan.json"),
        Files.readString(manifest).replace("engine.plan", "cut.plan"));
    engine(Traits.NONE);
    assertEquals("none", refusal(new Fake(), 0));
  }

  private void half(EnginePart part, String hash) throws IOException {
    MadeUpPlans.half(
        folder,
        part,
        hash,
        new Host("10.6.0", "12.6", "NVIDIA H100", "9.0", Optional.empty()),
        "nit-export engine b --parts " + part.key() + " --overwrite");
  }

  @Test
  void eachHalfOfAnAutoencoderIsCheckedAgainstItsOwnFile() throws IOException {
    Bundle bundle = TinyAutoencoder.bundle(folder);
    TensorRtProvider provider = new TensorRtProvider(new PlanCheck(new Fake()));
    EngineOptions options = EngineOptions.DEFAULT;
    String decoder = EngineManifest.hashOf(bundle.files(), "decoder.onnx").orElseThrow();
    String encoder = EngineManifest.hashOf(bundle.files(), "encoder.onnx").orElseThrow();
    half(EnginePart.DECODER, decoder);
    assertEquals(Optional.empty(), provider.codecRefusal(bundle, options));
    assertTrue(
        provider.encoderRefusal(bundle, options).orElseThrow().contains("no encoder's engine"));
    half(EnginePart.ENCODER, decoder);
    assertEquals(
        Optional.of(
            "encoder-bf16.plan does not fit: model.sha256: expected "
                + decoder
                + ", found "
                + encoder
                + ". Build it again with: nit-export engine b --parts encoder --overwrite"),
        provider.encoderRefusal(bundle, options));
    half(EnginePart.ENCODER, encoder);
    assertEquals(Optional.empty(), provider.encoderRefusal(bundle, options));
    Fake other = new Fake();
    other.host = new Host("10.7.0", "12.6", "NVIDIA H100", "9.0", Optional.empty());
    String refusal =
        new TensorRtProvider(new PlanCheck(other)).codecRefusal(bundle, options).orElseThrow();
    assertTrue(refusal.contains("tensorrt: expected 10.6.0, found 10.7.0"), refusal);
  }

  /** A machine on which manifests are exchanged while plans are checked. */
  private final class Exchanging extends Fake {
    int checks;

    @Override
    public Host host(int device, Optional<PluginLibrary> plugins) throws TensorRtException {
      checks++;
      try {
        Files.writeString(folder.resolve("decoder-bf16.plan.json"), "{");
        Files.writeString(folder.resolve("encoder-bf16.plan.json"), "{");
      } catch (IOException e) {
        throw new UncheckedIOException(e);
      }
      return super.host(device, plugins);
    }
  }

  @Test
  void anAutoencoderIsOpenedWithTheManifestsThatWereChecked() throws IOException {
    Bundle bundle = TinyAutoencoder.bundle(folder);
    half(EnginePart.DECODER, EngineManifest.hashOf(bundle.files(), "decoder.onnx").orElseThrow());
    half(EnginePart.ENCODER, EngineManifest.hashOf(bundle.files(), "encoder.onnx").orElseThrow());
    Exchanging machine = new Exchanging();
    TensorRtProvider provider = new TensorRtProvider(new PlanCheck(machine));
    // These ten bytes are no plan, if TensorRT is there at all.
    String message =
        assertThrows(EngineException.class, () -> provider.openCodec(bundle, EngineOptions.DEFAULT))
            .getMessage();
    assertFalse(message.contains("plan.json"), message);
    assertEquals(2, machine.checks);
  }
}
