package io.nit.tests.endtoend;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.nit.core.bundle.Bundle;
import io.nit.core.cli.Cli;
import io.nit.core.config.NitConfig;
import io.nit.core.packing.PackLayout;
import io.nit.core.rope.Rope2d;
import io.nit.core.rope.RopeSpec;
import io.nit.core.safetensors.SafetensorsWriter;
import io.nit.core.safetensors.TensorSource;
import io.nit.runtime.cli.Run;
import io.nit.runtime.engine.EngineOptions;
import io.nit.runtime.engine.Engines;
import io.nit.runtime.engine.ForwardInputs;
import io.nit.runtime.engine.VelocityEngine;
import io.nit.testing.Errors;
import io.nit.testing.Golden;
import java.nio.FloatBuffer;
import java.nio.file.Path;
import java.util.Arrays;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestInstance;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** {@code nit-run} on the exported golden model gives the authors' numbers. */
@TestInstance(TestInstance.Lifecycle.PER_CLASS)
class GoldenRunTest {
  @TempDir static Path folder;
  private Path bundle;

  @BeforeAll
  void export() throws Exception {
    bundle = Bundles.golden(folder);
  }

  @Test
  void forwardGivesTheGoldenVelocity() throws Exception {
    Path out = folder.resolve("v.safetensors");
    try (TensorSource golden = Golden.nitTiny()) {
      Path in = folder.resolve("forward-in.safetensors");
      new SafetensorsWriter()
          .add(golden.tensor("in.x").renamed("x"))
          .add(golden.tensor("in.t").renamed("t"))
          .add(golden.tensor("in.y").renamed("y"))
          .add(golden.tensor("in.hw_list").renamed("hw_list"))
          .write(in);
      assertEquals(0, run("forward", in, out, "--backend", "ort-cpu", "--threads", "1"));
      try (TensorSource found = TensorSource.open(out)) {
        assertClose(golden, "out.v", found, "v", 2e-5);
      }
    }
  }

  @Test
  void changingOneImageLeavesTheOthersBitIdentical() throws Exception {
    try (TensorSource golden = Golden.nitTiny();
        VelocityEngine engine =
            Engines.open(Bundle.open(bundle), "ort-cpu", new EngineOptions(2))) {
      NitConfig config = engine.config();
      PackLayout layout = PackLayout.ofHwList(golden.tensor("in.hw_list").toLongs());
      float[] x = golden.tensor("in.x").toFloats();
      float[] t = golden.tensor("in.t").toFloats();
      long[] y = golden.tensor("in.y").toLongs();
      float[] before = forward(engine, layout, x, t, y);
      for (int changed = 0; changed < layout.images(); changed++) {
        float[] other = x.clone();
        float[] otherT = t.clone();
        long[] otherY = y.clone();
        int from = layout.start(changed) * config.tokenSize();
        int end = from + layout.tokens(changed) * config.tokenSize();
        for (int i = from; i < end; i++) {
          other[i] = 3 - 2 * x[i];
        }
        otherT[changed] = 1 - t[changed];
        otherY[changed] = (y[changed] + 1) % config.numClasses();
        float[] after = forward(engine, layout, other, otherT, otherY);
        for (int i = 0; i < x.length; i++) {
          boolean inside = i >= from && i < end;
          assertTrue(
              inside || Float.floatToRawIntBits(after[i]) == Float.floatToRawIntBits(before[i]),
              "value " + i + " of the pack when image " + changed + " is changed");
        }
        assertFalse(Arrays.equals(before, from, end, after, from, end));
      }
    }
  }

  private static float[] forward(
      VelocityEngine engine, PackLayout layout, float[] x, float[] t, long[] y) throws Exception {
    FloatBuffer v = FloatBuffer.allocate(x.length);
    engine.forward(
        new ForwardInputs(
            layout,
            FloatBuffer.wrap(x),
            t,
            y,
            new Rope2d().tables(RopeSpec.of(engine.config()), layout)),
        v);
    return v.array();
  }

  @ParameterizedTest
  @CsvSource(
      delimiterString = " | ",
      value = {
        "euler_nocfg | --sampler euler --steps 5",
        "euler_cfg | --sampler euler --steps 6 --guidance 2.5 --guidance-interval 0,0.7",
        "heun_cfg | --sampler heun --steps 5 --guidance 1.8 --guidance-interval 0.2,0.9",
        "sde_nocfg | --sampler sde --steps 5",
        "sde_cfg | --sampler sde --steps 6 --guidance 2.0 --guidance-interval 0,0.7",
      })
  void sampleLatentsGivesTheGoldenLatents(String name, String options) throws Exception {
    Path in = folder.resolve(name + "-in.safetensors");
    Path out = folder.resolve(name + ".safetensors");
    try (TensorSource golden = Golden.nitTiny()) {
      SafetensorsWriter writer =
          new SafetensorsWriter()
              .add(golden.tensor("in.x").renamed("x"))
              .add(golden.tensor("sample.y").renamed("y"))
              .add(golden.tensor("in.hw_list").renamed("hw_list"));
      if (name.startsWith("sde")) {
        writer.add(golden.tensor("sample." + name + ".eps").renamed("eps"));
      }
      writer.write(in);
      assertEquals(0, run("sample-latents", in, out, options.split(" ")));
      try (TensorSource found = TensorSource.open(out)) {
        assertClose(golden, "sample." + name, found, "latents", 1e-4);
      }
    }
  }

  @Test
  void autoGuidanceTakesTheWeakerModelsNullClassForTheUnconditionalBranch() throws Exception {
    Path weaker = Bundles.golden(folder, "weaker", 0.8f);
    Path in = folder.resolve("auto-in.safetensors");
    Path out = folder.resolve("auto.safetensors");
    try (TensorSource golden = Golden.nitTiny();
        VelocityEngine model = Engines.open(Bundle.open(bundle), "ort-cpu", new EngineOptions(1));
        VelocityEngine weak = Engines.open(Bundle.open(weaker), "ort-cpu", new EngineOptions(1))) {
      new SafetensorsWriter()
          .add(golden.tensor("in.x").renamed("x"))
          .add(golden.tensor("sample.y").renamed("y"))
          .add(golden.tensor("in.hw_list").renamed("hw_list"))
          .write(in);
      String options = "--sampler euler --steps 4 --guidance 2.5 --guidance-interval 0,0.8";
      String[] all = (options + " --threads 1 --auto-guidance " + weaker).split(" ");
      assertEquals(0, run("sample-latents", in, out, all));

      PackLayout layout = PackLayout.ofHwList(golden.tensor("in.hw_list").toLongs());
      long[] y = golden.tensor("sample.y").toLongs();
      long[] nullClass = new long[y.length];
      Arrays.fill(nullClass, model.config().numClasses());
      double[] x = golden.tensor("in.x").toDoubles();
      for (double t : new double[] {1, 0.75, 0.5, 0.25}) {
        float[] times = new float[y.length];
        Arrays.fill(times, (float) t);
        float[] now = new float[x.length];
        for (int i = 0; i < x.length; i++) {
          now[i] = (float) x[i];
        }
        float[] cond = forward(model, layout, now, times, y);
        float[] uncond = forward(weak, layout, now, times, nullClass);
        double scale = t <= 0.8 ? 2.5 : 1;
        for (int i = 0; i < x.length; i++) {
          x[i] -= 0.25 * (uncond[i] + scale * (cond[i] - uncond[i]));
        }
      }
      try (TensorSource found = TensorSource.open(out)) {
        double error = Errors.relative(found.tensor("latents").toDoubles(), x);
        assertTrue(error <= 1e-6, "relative error " + error);
      }
    }
  }

  private int run(String subcommand, Path in, Path out, String... options) {
    String[] arguments = new String[options.length + 8];
    String[] fixed = {
      subcommand,
      "--bundle",
      bundle.toString(),
      "--inputs",
      in.toString(),
      "--output",
      out.toString(),
      "--quiet"
    };
    System.arraycopy(fixed, 0, arguments, 0, fixed.length);
    System.arraycopy(options, 0, arguments, fixed.length, options.length);
    return Cli.run(new Run(), arguments);
  }

  private static void assertClose(
      TensorSource golden, String expected, TensorSource found, String name, double bound)
      throws Exception {
    assertEquals(golden.tensor(expected).shape(), found.tensor(name).shape());
    double error =
        Errors.relative(found.tensor(name).toDoubles(), golden.tensor(expected).toDoubles());
    assertTrue(error <= bound, expected + ": relative error " + error);
  }
}
