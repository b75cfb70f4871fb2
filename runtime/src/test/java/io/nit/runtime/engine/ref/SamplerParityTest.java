package io.nit.runtime.engine.ref;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.nit.core.config.NitConfig;
import io.nit.core.flow.Guidance;
import io.nit.core.flow.SamplerKind;
import io.nit.core.flow.Trajectory;
import io.nit.core.packing.PackLayout;
import io.nit.core.rope.Rope2d;
import io.nit.core.rope.RopeSpec;
import io.nit.core.rope.RopeTables;
import io.nit.core.safetensors.TensorSource;
import io.nit.runtime.engine.ForwardInputs;
import io.nit.testing.Errors;
import io.nit.testing.Golden;
import io.nit.testing.GoldenState;
import java.io.IOException;
import java.nio.FloatBuffer;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** The samplers against the authors' runs: every image of the golden pack is its own trajectory. */
class SamplerParityTest {
  @ParameterizedTest
  @CsvSource({
    "euler_nocfg, EULER, 5, 1, 0, 1",
    "euler_cfg, EULER, 6, 2.5, 0, 0.7",
    "heun_cfg, HEUN, 5, 1.8, 0.2, 0.9",
    "sde_nocfg, SDE, 5, 1, 0, 1",
    "sde_cfg, SDE, 6, 2.0, 0, 0.7",
  })
  void trajectoriesEndWhereTheAuthorsEnd(
      String run, SamplerKind kind, int steps, double scale, double low, double high)
      throws IOException {
    try (TensorSource golden = Golden.nitTiny();
        ReferenceEngine engine =
            ReferenceEngine.open(new GoldenState(golden), Golden.nitTinyConfig())) {
      NitConfig config = engine.config();
      PackLayout layout = PackLayout.ofHwList(golden.tensor("in.hw_list").toLongs());
      int size = config.tokenSize();
      double[] start = golden.tensor("in.x").toDoubles();
      double[] eps =
          kind == SamplerKind.SDE ? golden.tensor("sample." + run + ".eps").toDoubles() : null;
      List<Trajectory> images = new ArrayList<>();
      for (int i = 0; i < layout.images(); i++) {
        int from = layout.start(i) * size;
        int to = from + layout.tokens(i) * size;
        images.add(
            new Trajectory(
                kind,
                steps,
                new Guidance(scale, low, high),
                Arrays.copyOfRange(start, from, to),
                step ->
                    Arrays.copyOfRange(eps, step * start.length + from, step * start.length + to)));
      }
      long[] labels = golden.tensor("sample.y").toLongs();
      long[] nulls = new long[labels.length];
      Arrays.fill(nulls, config.numClasses());
      RopeTables rope = new Rope2d().tables(RopeSpec.of(config), layout);
      int evaluations = 0;
      while (!images.get(0).done()) {
        float[] cond = forward(engine, layout, rope, images, labels);
        float[] uncond =
            images.get(0).guided() ? forward(engine, layout, rope, images, nulls) : null;
        for (int i = 0; i < layout.images(); i++) {
          images.get(i).advance(cond, layout.start(i) * size, uncond, layout.start(i) * size);
        }
        evaluations++;
      }
      double[] expected = golden.tensor("sample." + run).toDoubles();
      double error = Errors.relative(join(layout, images, size), expected);
      assertTrue(error <= 1e-4, "relative error " + error);
      assertEquals(images.get(0).evaluations(), evaluations);
    }
  }

  private static float[] forward(
      ReferenceEngine engine,
      PackLayout layout,
      RopeTables rope,
      List<Trajectory> images,
      long[] labels) {
    int size = engine.config().tokenSize();
    double[] wide = join(layout, images, size);
    float[] x = new float[wide.length];
    for (int i = 0; i < x.length; i++) {
      x[i] = (float) wide[i];
    }
    float[] t = new float[images.size()];
    for (int i = 0; i < t.length; i++) {
      t[i] = (float) images.get(i).t();
    }
    float[] v = new float[x.length];
    engine.forward(
        new ForwardInputs(layout, FloatBuffer.wrap(x), t, labels, rope), FloatBuffer.wrap(v));
    return v;
  }

  private static double[] join(PackLayout layout, List<Trajectory> images, int size) {
    double[] all = new double[layout.tokens() * size];
    for (int i = 0; i < layout.images(); i++) {
      double[] x = images.get(i).x();
      System.arraycopy(x, 0, all, layout.start(i) * size, x.length);
    }
    return all;
  }
}
