package io.nit.exporter.onnx;

import ai.onnxruntime.OnnxTensor;
import ai.onnxruntime.OrtEnvironment;
import ai.onnxruntime.OrtException;
import ai.onnxruntime.OrtSession;
import java.nio.FloatBuffer;
import java.nio.file.Path;
import java.util.Map;

/** A file of one float input and one float output in ONNX Runtime. */
public final class OrtFile implements AutoCloseable {
  private final OrtEnvironment environment = OrtEnvironment.getEnvironment();
  private final OrtSession session;

  /** Loads a file. */
  public OrtFile(Path file) throws OrtException {
    try (OrtSession.SessionOptions options = new OrtSession.SessionOptions()) {
      session = environment.createSession(file.toString(), options);
    }
  }

  /** The output of an input of that shape. */
  public float[] run(float[] values, long... shape) throws OrtException {
    String input = session.getInputNames().iterator().next();
    try (OnnxTensor in = OnnxTensor.createTensor(environment, FloatBuffer.wrap(values), shape);
        OrtSession.Result result = session.run(Map.of(input, in))) {
      FloatBuffer out = ((OnnxTensor) result.get(0)).getFloatBuffer();
      float[] copy = new float[out.remaining()];
      out.get(copy);
      return copy;
    }
  }

  @Override
  public void close() throws OrtException {
    session.close();
  }
}
