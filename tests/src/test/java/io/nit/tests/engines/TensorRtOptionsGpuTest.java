package io.nit.tests.engines;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.nit.core.bundle.Bundle;
import io.nit.core.bundle.EngineManifest;
import io.nit.core.bundle.EngineManifest.Place;
import io.nit.core.bundle.EngineManifest.Weights;
import io.nit.core.bundle.EnginePart;
import io.nit.core.bundle.PackPlan;
import io.nit.core.config.NitConfig;
import io.nit.core.cuda.PluginLibrary;
import io.nit.core.packing.PackLayout;
import io.nit.core.safetensors.TensorSource;
import io.nit.core.safetensors.TensorView;
import io.nit.core.tensor.HostTensor;
import io.nit.core.tensor.Parity;
import io.nit.core.trt.Gpu;
import io.nit.exporter.cli.Export;
import io.nit.exporter.testing.SyntheticModel;
import io.nit.exporter.verify.VerificationPack;
import io.nit.runtime.engine.EngineException;
import io.nit.runtime.engine.EngineOptions;
import io.nit.runtime.engine.Engines;
import io.nit.runtime.engine.ForwardInputs;
import io.nit.runtime.engine.VelocityEngine;
import io.nit.runtime.engine.ref.ReferenceEngine;
import io.nit.testing.CapturedRun;
import io.nit.testing.PlainBundle;
import io.nit.testing.SyntheticWeights;
import java.io.IOException;
import java.nio.FloatBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Engines whose weights are exchanged, and engines for other GPUs and versions. */
@Tag("gpu")
class TensorRtOptionsGpuTest {
  private static final NitConfig TINY = PluginEngines.TINY;
  private static final double BOUND = 3e-2;

  private static final List<PackLayout> PACKS =
      List.of(
          PackLayout.of(new int[] {3, 1}, new int[] {5, 1}),
          PackLayout.of(new int[] {3, 1, 26, 7}, new int[] {5, 1, 21, 2}));

  @TempDir static Path folder;

  private static TensorSource first;
  private static TensorSource tuned;
  private static Path firstBundle;
  private static Path tunedBundle;

  /** A checkpoint of the same shape in which every weight has another value. */
  private static final class Tuned extends TensorView {
    Tuned(TensorSource from) {
      super(from);
    }

    @Override
    public HostTensor tensor(String name) throws IOException {
      HostTensor tensor = super.tensor(name);
      float[] values = tensor.toFloats();
      for (int i = 0; i < values.length; i++) {
        values[i] = (float) (0.8 * values[i] + 0.01 * Math.sin(i + name.length()));
      }
      return HostTensor.of(name, values, tensor.shape().dims());
    }
  }

  @BeforeAll
  static void twoBundles() throws IOException {
    PluginEngines.require(TensorRtOptionsGpuTest.class);
    first = new SyntheticWeights(TINY, false);
    tuned = new Tuned(first);
    firstBundle = bundle("first", first);
    tunedBundle = bundle("tuned", tuned);
  }

  private static Path bundle(String name, TensorSource weights) throws IOException {
    Path model = SyntheticModel.write(TINY, weights, folder.resolve(name));
    return PlainBundle.write(model, TINY, 1024).folder();
  }

  private static CapturedRun export(Object... words) {
    long start = System.nanoTime();
    CapturedRun run =
        CapturedRun.of(
            new Export(), Stream.concat(Stream.of(words), Stream.of("--overwrite")).toArray());
    System.out.printf(
        Locale.ROOT,
        "  nit-export %s: code %d in %.1f s%n%s",
        Arrays.asList(words),
        run.code(),
        (System.nanoTime() - start) / 1e9,
        run.err());
    return run;
  }

  private static CapturedRun built(Object... words) {
    CapturedRun run = export(words);
    assertEquals(0, run.code(), run.err());
    return run;
  }

  private static float[][] velocities(VelocityEngine engine) throws EngineException {
    float[][] all = new float[PACKS.size()][];
    for (int i = 0; i < all.length; i++) {
      ForwardInputs in = VerificationPack.of(TINY, PACKS.get(i)).inputs();
      FloatBuffer v = FloatBuffer.allocate(in.x().remaining());
      engine.forward(in, v);
      all[i] = v.array();
    }
    return all;
  }

  /** What the bundle's engine gives, checked against the reference on {@code weights}. */
  private static float[][] served(Path bundle, TensorSource weights) throws Exception {
    try (VelocityEngine engine =
            Engines.open(Bundle.open(bundle), "tensorrt", EngineOptions.DEFAULT);
        ReferenceEngine reference = ReferenceEngine.open(weights, TINY)) {
      float[][] found = velocities(engine);
      float[][] expected = velocities(reference);
      for (int i = 0; i < found.length; i++) {
        double error = Parity.of(found[i], expected[i]).relative();
        System.out.printf(
            Locale.ROOT,
            "  %s, %s: relative error %.2e%n",
            bundle.getFileName(),
            PACKS.get(i),
            error);
        assertTrue(error < BOUND, bundle + " " + PACKS.get(i) + ": relative error " + error);
      }
      return found;
    }
  }

  private static void clear(Path bundle) throws IOException {
    for (Path plan : EngineManifest.plansIn(bundle, EnginePart.MODEL)) {
      Files.delete(plan);
      Files.delete(EngineManifest.fileOf(plan));
    }
  }

  @ParameterizedTest
  @ValueSource(strings = {"--weight-stripped", "--refittable"})
  void oneBuildServesEveryCheckpointOfItsShape(String option) throws Exception {
    clear(firstBundle);
    clear(tunedBundle);
    // The first pack runs in a plan of small packs where there is one, the second does not fit.
    built("engine", firstBundle, "--buckets", "64,4096", option);
    boolean stripped = option.equals("--weight-stripped");
    Path plan = firstBundle.resolve(stripped ? "engine-bf16-stripped.plan" : "engine-bf16.plan");
    assertEquals(
        stripped ? Weights.STRIPPED : Weights.REFITTABLE,
        EngineManifest.read(plan).traits().weights());
    System.out.printf("  %s: %d KiB%n", plan.getFileName(), Files.size(plan) >> 10);
    boolean small = PluginEngines.smallPlanHere(PluginLibrary.find());
    List<PackPlan> plans = small ? List.of(PackPlan.MAIN, PackPlan.SMALL) : List.of(PackPlan.MAIN);
    assertEquals(plans, EngineManifest.read(plan).packPlans());
    if (stripped) {
      String message =
          assertThrows(
                  EngineException.class,
                  () -> Engines.open(Bundle.open(firstBundle), "tensorrt", EngineOptions.DEFAULT))
              .getMessage();
      assertTrue(message.contains("nit-export refit " + plan), message);
      built("refit", plan, firstBundle);
    }
    float[][] before = served(firstBundle, first);
    built("refit", plan, tunedBundle);
    Path refitted = tunedBundle.resolve("engine-bf16.plan");
    System.out.printf(
        "  %s: %d KiB, %s%n",
        refitted, Files.size(refitted) >> 10, EngineManifest.read(refitted).traits());
    assertEquals(plans, EngineManifest.read(refitted).packPlans());
    float[][] after = served(tunedBundle, tuned);
    for (int i = 0; i < after.length; i++) {
      double change = Parity.of(after[i], before[i]).relative();
      assertTrue(change > 0.1, "the refit changed the velocities by " + change + " only");
    }
    // The line that a refusal would print leads to the same weights.
    String again = EngineManifest.read(refitted).command(Place.in(refitted, 0));
    System.out.println("  built again with: " + again);
    clear(tunedBundle);
    for (String line : again.split(" && ")) {
      String[] words = line.replace(" --overwrite", "").split(" ");
      built((Object[]) Arrays.copyOfRange(words, 1, words.length));
    }
    float[][] rebuilt = served(tunedBundle, tuned);
    for (int i = 0; i < rebuilt.length; i++) {
      double change = Parity.of(rebuilt[i], after[i]).relative();
      assertTrue(change < BOUND, "built again the velocities differ by " + change);
    }
    if (EngineManifest.read(refitted).traits().weights() == Weights.REFITTABLE) {
      // And back again, from the engine that holds the tuned weights.
      built("refit", refitted, firstBundle);
      double back = Parity.of(served(firstBundle, first)[1], before[1]).relative();
      System.out.println("  relative difference after the way there and back: " + back);
      assertTrue(back < 1e-2, "relative difference " + back);
    }
  }

  @ParameterizedTest
  @ValueSource(strings = {"f32", "bf16", "f16"})
  void aHardwareCompatibleEngineIsTakenOnAnotherGpuOfItsLevel(String precision) throws Exception {
    clear(firstBundle);
    CapturedRun run =
        export(
            "engine",
            firstBundle,
            "--precision",
            precision,
            "--buckets",
            "64,1024",
            "--hardware-compatible");
    if (!precision.equals("f32") && PluginLibrary.find().architectureFor(8, 0).isEmpty()) {
      assertEquals(1, run.code(), run.err());
      assertTrue(run.err().contains("expected our kernels for sm_80 and newer"), run.err());
      return;
    }
    assertEquals(0, run.code(), run.err());
    served(firstBundle, first);
    Path plan = firstBundle.resolve("engine-" + precision + ".plan");
    Path manifest = EngineManifest.fileOf(plan);
    String text = Files.readString(manifest);
    Gpu gpu = Gpu.open(0);
    String elsewhere =
        text.replace(gpu.name(), "NVIDIA A100").replace("\"" + gpu.computeCapability(), "\"8.0");
    assertTrue(!elsewhere.equals(text), text);
    Files.writeString(manifest, elsewhere);
    served(firstBundle, first);
  }

  @Test
  void aVersionCompatibleEngineNeedsTheLeanRuntimeOrRuns() throws Exception {
    clear(firstBundle);
    CapturedRun run = export("engine", firstBundle, "--buckets", "64,1024", "--version-compatible");
    if (run.code() == 1) {
      assertTrue(run.err().contains("--version-compatible: "), run.err());
      assertEquals(List.of(), EngineManifest.plansIn(firstBundle, EnginePart.MODEL));
      return;
    }
    assertEquals(0, run.code(), run.err());
    served(firstBundle, first);
  }
}
