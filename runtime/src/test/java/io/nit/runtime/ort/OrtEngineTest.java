package io.nit.runtime.ort;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.onnxruntime.OrtSession;
import io.nit.core.config.NitConfig;
import io.nit.core.packing.PackLayout;
import io.nit.core.rope.Rope2d;
import io.nit.core.rope.RopeSpec;
import io.nit.runtime.engine.EngineException;
import io.nit.runtime.engine.EngineOptions;
import io.nit.runtime.engine.ForwardInputs;
import io.nit.testing.TinyModel;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.FloatBuffer;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.concurrent.atomic.AtomicReference;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class OrtEngineTest {
  private static final NitConfig CONFIG =
      NitConfig.s().with(Map.of("in_channels", 3, "patch_size", 2, "num_heads", 96, "depth", 4));

  @TempDir Path folder;

  @Test
  void inputsReachTheModelAndTheVelocityComesBackFromHeapAndDirectBuffers() throws Exception {
    try (OrtEngine engine = open(model())) {
      for (boolean direct : new boolean[] {false, true}) {
        // Packs that grow and shrink, so that kept buffers are larger than what is asked for.
        for (int[] sides : new int[][] {{2, 3}, {5, 4}, {1, 1}}) {
          PackLayout layout = PackLayout.of(sides, new int[] {2, 1});
          ForwardInputs in = inputs(layout, direct);
          FloatBuffer v = buffer(in.x().remaining() + 5, direct);
          v.position(2);
          engine.forward(in, v);
          assertEquals(2 + in.x().remaining(), v.position());
          float[] found = new float[in.x().remaining()];
          v.get(2, found);
          assertArrayEquals(expected(in), found, 1e-6f);
        }
      }
    }
  }

  @Test
  void anUnknownInputOrOneOfAnotherShapeIsRefusedWithWhatWasExpected() throws Exception {
    Path file =
        new TinyModel(3, 2, 4)
            .input("unused", 1, "tokens")
            .write(folder.resolve("extra.onnx"), 3, 2);
    String extra = assertThrows(EngineException.class, () -> open(file)).getMessage();
    assertTrue(extra.contains("expected [x, t, y,") && extra.contains("unused"), extra);

    Path wide = new TinyModel(3, 2, 8).write(folder.resolve("wide.onnx"), 3, 2);
    String shape = assertThrows(EngineException.class, () -> open(wide)).getMessage();
    assertTrue(shape.contains("rope_cos: expected FLOAT [-1, 4]"), shape);
    assertTrue(shape.contains("wide.onnx"), shape);
  }

  @Test
  void aBrokenOrMissingFileIsNamed() throws Exception {
    Path broken = Files.writeString(folder.resolve("broken.onnx"), "no model");
    String message = assertThrows(EngineException.class, () -> open(broken)).getMessage();
    assertTrue(message.contains("broken.onnx"), message);
    assertThrows(NoSuchFileException.class, () -> open(folder.resolve("absent.onnx")));
  }

  @Test
  void aSessionWhoseCheckBreaksIsClosed() throws Exception {
    Path model = model();
    for (Throwable broken : List.of(new IllegalStateException("b"), new LinkageError("b"))) {
      AtomicReference<OrtSession> opened = new AtomicReference<>();
      assertSame(
          broken,
          assertThrows(
              broken.getClass(),
              () ->
                  OrtSessions.open(
                      model,
                      new EngineOptions(1),
                      settings -> {},
                      session -> {
                        opened.set(session);
                        if (broken instanceof Error e) {
                          throw e;
                        }
                        throw (RuntimeException) broken;
                      })));
      assertThrows(IllegalStateException.class, () -> opened.get().getInputInfo());
    }
  }

  @Test
  void closingTwiceIsFineAndUseAfterCloseIsNot() throws Exception {
    OrtEngine engine = open(model());
    engine.close();
    engine.close();
    ForwardInputs in = inputs(PackLayout.of(new int[] {1}, new int[] {1}), true);
    String message =
        assertThrows(
                IllegalStateException.class,
                () -> engine.forward(in, buffer(in.x().remaining(), true)))
            .getMessage();
    assertTrue(message.contains("OrtEngine"), message);
  }

  @Test
  void aFailedForwardLeavesTheEngineUsable() throws Exception {
    try (OrtEngine engine = open(model())) {
      PackLayout layout = PackLayout.of(new int[] {2}, new int[] {2});
      ForwardInputs good = inputs(layout, true);
      assertThrows(IllegalArgumentException.class, () -> engine.forward(good, buffer(3, true)));
      FloatBuffer v = buffer(good.x().remaining(), true);
      engine.forward(good, v);
      float[] found = new float[v.capacity()];
      v.get(0, found);
      assertArrayEquals(expected(good), found, 1e-6f);
    }
  }

  private Path model() throws Exception {
    return new TinyModel(3, 2, 4).write(folder.resolve("model.onnx"), 3, 2);
  }

  private static OrtEngine open(Path model) throws Exception {
    return OrtEngine.open(model, CONFIG, new EngineOptions(1), OrtDevice.CPU);
  }

  private static ForwardInputs inputs(PackLayout layout, boolean direct) {
    FloatBuffer x = buffer(layout.tokens() * CONFIG.tokenSize(), direct);
    for (int i = 0; i < x.capacity(); i++) {
      x.put(i, i * 0.25f - 3);
    }
    float[] t = new float[layout.images()];
    long[] y = new long[t.length];
    for (int i = 0; i < t.length; i++) {
      t[i] = 0.5f + i;
      y[i] = 7 - i;
    }
    return new ForwardInputs(layout, x, t, y, new Rope2d().tables(RopeSpec.of(CONFIG), layout));
  }

  private static float[] expected(ForwardInputs in) {
    float[] v = new float[in.x().remaining()];
    int[] image = in.layout().imageIndex();
    for (int i = 0; i < v.length; i++) {
      int token = i / CONFIG.tokenSize();
      float rope = Float.NEGATIVE_INFINITY;
      for (int j = 4 * token; j < 4 * token + 4; j++) {
        rope = Math.max(rope, in.rope().cos()[j] + in.rope().sin()[j]);
      }
      v[i] = in.x().get(i) * in.t()[image[token]] + in.y()[image[token]] + rope;
    }
    return v;
  }

  private static FloatBuffer buffer(int floats, boolean direct) {
    return direct
        ? ByteBuffer.allocateDirect(4 * floats).order(ByteOrder.nativeOrder()).asFloatBuffer()
        : FloatBuffer.allocate(floats);
  }
}
