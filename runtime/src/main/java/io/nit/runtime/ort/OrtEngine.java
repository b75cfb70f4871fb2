package io.nit.runtime.ort;

import ai.onnxruntime.OnnxTensor;
import ai.onnxruntime.OrtEnvironment;
import ai.onnxruntime.OrtException;
import ai.onnxruntime.OrtSession;
import io.nit.core.config.NitConfig;
import io.nit.core.packing.PackLayout;
import io.nit.core.rope.RopeTables;
import io.nit.runtime.engine.EngineException;
import io.nit.runtime.engine.EngineOptions;
import io.nit.runtime.engine.ForwardInputs;
import io.nit.runtime.engine.VelocityEngine;
import java.io.IOException;
import java.nio.ByteOrder;
import java.nio.FloatBuffer;
import java.nio.IntBuffer;
import java.nio.LongBuffer;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Set;

/**
 * A NiT model in ONNX Runtime. Inputs and the output are read and written in place where the
 * caller's buffers are direct and of native byte order. Calls from several threads run one after
 * the other.
 */
public final class OrtEngine implements VelocityEngine {
  /**
   * System property that says how attention is computed on CUDA: {@code packed}, by ONNX Runtime's
   * kernel for packed sequences, which is the default, or {@code function}, by the local function
   * that the model file brings along.
   */
  public static final String ATTENTION = "nit.ort.attention";

  private final OrtEnvironment environment;
  private final NitConfig config;
  private final String backend;
  private final String description;
  private final boolean packed;
  private final DirectBuffers buffers = new DirectBuffers();
  private OrtSession session;
  private PackLayout boundLayout;
  private RopeTables boundRope;

  private OrtEngine(
      OrtSession session, NitConfig config, String backend, String description, boolean packed) {
    this.environment = OrtNative.environment();
    this.session = session;
    this.config = config;
    this.backend = backend;
    this.description = description;
    this.packed = packed;
  }

  /**
   * Loads a model file and checks that its inputs and output are those of {@code config}. On CUDA
   * its attention is {@link PackedAttention} unless the property {@link #ATTENTION} says otherwise.
   *
   * @param model the ONNX file; external data lies beside it
   * @param device what to compute on
   * @return the engine, which the caller closes
   * @throws NoSuchFileException if there is no such file
   * @throws EngineException if ONNX Runtime does not take the file or an input or output differs
   */
  static OrtEngine open(Path model, NitConfig config, EngineOptions options, OrtDevice device)
      throws NoSuchFileException, EngineException {
    OrtSessions.Settings settings =
        session -> {
          // ONNX Runtime keeps one memory plan per set of input shapes; nearly every pack has a
          // new one, so the plans would only pile up.
          session.setMemoryPatternOptimization(false);
          device.apply(session, options, OrtDevice.Memory.KEPT);
        };
    if (device.isGpu() && packedAttention(config)) {
      return new OrtEngine(
          openPacked(model, config, options, settings),
          config,
          device.backend(),
          device.describe(options) + ", packed attention",
          true);
    }
    return new OrtEngine(
        OrtSessions.open(
            model, options, settings, opened -> ModelSignature.check(opened, config, false, model)),
        config,
        device.backend(),
        device.describe(options),
        false);
  }

  private static boolean packedAttention(NitConfig config) {
    String attention = System.getProperty(ATTENTION, "packed");
    if (!attention.equals("packed") && !attention.equals("function")) {
      throw new IllegalArgumentException(
          ATTENTION + ": expected packed or function, found '" + attention + "'");
    }
    return attention.equals("packed") && PackedAttention.takes(config);
  }

  private static OrtSession openPacked(
      Path model, NitConfig config, EngineOptions options, OrtSessions.Settings settings)
      throws NoSuchFileException, EngineException {
    Path file;
    byte[] changed;
    try {
      // ONNX Runtime takes no external data through a link that leads out of the graph's folder.
      file = model.toRealPath();
      changed = PackedAttention.rewritten(file, config);
    } catch (NoSuchFileException e) {
      throw new NoSuchFileException(model.toString(), null, "no such model file");
    } catch (IOException | IllegalArgumentException e) {
      throw new EngineException(
          "ONNX Runtime does not take "
              + model
              + ": "
              + e.getMessage()
              + " (-D"
              + ATTENTION
              + "=function leaves the file as it is)",
          e);
    }
    return OrtSessions.open(
        file,
        changed,
        options,
        settings,
        opened -> ModelSignature.check(opened, config, true, model));
  }

  @Override
  public String backend() {
    return backend;
  }

  @Override
  public String description() {
    return description;
  }

  @Override
  public NitConfig config() {
    return config;
  }

  @Override
  public synchronized void forward(ForwardInputs in, FloatBuffer v) throws EngineException {
    if (session == null) {
      throw new IllegalStateException("OrtEngine: used after close");
    }
    PackLayout layout = in.layout();
    int values = in.requireValues(config, v);
    boolean inPlace = isNative(v);
    FloatBuffer out = v.slice().limit(values);
    if (!inPlace) {
      out = buffers.get("v", values * Float.BYTES).asFloatBuffer();
    }
    long p = config.patchSize();
    long[] shape = {layout.tokens(), config.inChannels(), p, p};
    Map<String, OnnxTensor> inputs = new LinkedHashMap<>();
    try (OnnxTensor velocity = OnnxTensor.createTensor(environment, out, shape)) {
      bind(inputs, in, shape);
      session.run(inputs, Set.of(), Map.of("v", velocity)).close();
    } catch (OrtException e) {
      throw new EngineException(
          "forward of " + layout + " failed in ONNX Runtime: " + OrtSessions.reason(e), e);
    } finally {
      inputs.values().forEach(OnnxTensor::close);
    }
    if (inPlace) {
      v.position(v.position() + values);
    } else {
      v.put(out);
    }
  }

  private void bind(Map<String, OnnxTensor> inputs, ForwardInputs in, long[] shape)
      throws OrtException {
    PackLayout layout = in.layout();
    int images = layout.images();
    int tokens = layout.tokens();
    FloatBuffer x = in.x();
    if (!isNative(x)) {
      int bytes = Math.multiplyExact(x.remaining(), Float.BYTES);
      x = buffers.get("x", bytes).asFloatBuffer().put(x.duplicate()).flip();
    }
    // Steps in a row mostly have the same pack: what only depends on it stays as it is.
    IntBuffer cu = buffers.get("cu_seqlens", (images + 1) * Integer.BYTES).asIntBuffer();
    IntBuffer index = buffers.get("image_index", tokens * Integer.BYTES).asIntBuffer();
    if (!layout.equals(boundLayout)) {
      cu.put(layout.cuSeqlens()).flip();
      index.put(layout.imageIndex()).flip();
      boundLayout = layout;
    }
    RopeTables rope = in.rope();
    int tableBytes = Math.multiplyExact(rope.cos().length, Float.BYTES);
    FloatBuffer cos = buffers.get("rope_cos", tableBytes).asFloatBuffer();
    FloatBuffer sin = buffers.get("rope_sin", tableBytes).asFloatBuffer();
    if (rope != boundRope) {
      cos.put(rope.cos()).flip();
      sin.put(rope.sin()).flip();
      boundRope = rope;
    }
    LongBuffer y = buffers.get("y", images * Long.BYTES).asLongBuffer().put(in.y()).flip();
    long[] table = {tokens, rope.headDim()};
    if (packed) {
      LongBuffer padded = buffers.get(PackedAttention.SHAPE, 2 * Long.BYTES).asLongBuffer();
      padded.put(PackedAttention.shape(layout)).flip();
      inputs.put(
          PackedAttention.SHAPE, OnnxTensor.createTensor(environment, padded, new long[] {2}));
    }
    inputs.put("x", OnnxTensor.createTensor(environment, x.slice(), shape));
    inputs.put(
        "t",
        OnnxTensor.createTensor(environment, buffers.floats("t", in.t()), new long[] {images}));
    inputs.put("y", OnnxTensor.createTensor(environment, y, new long[] {images}));
    inputs.put("cu_seqlens", OnnxTensor.createTensor(environment, cu, new long[] {images + 1L}));
    inputs.put("image_index", OnnxTensor.createTensor(environment, index, new long[] {tokens}));
    inputs.put("rope_cos", OnnxTensor.createTensor(environment, cos, table));
    inputs.put("rope_sin", OnnxTensor.createTensor(environment, sin, table));
  }

  private static boolean isNative(FloatBuffer buffer) {
    return buffer.isDirect() && buffer.order() == ByteOrder.nativeOrder();
  }

  @Override
  public synchronized void close() {
    OrtSession open = session;
    session = null;
    OrtSessions.close(open);
  }
}
