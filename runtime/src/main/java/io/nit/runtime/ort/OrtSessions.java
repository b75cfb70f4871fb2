package io.nit.runtime.ort;

import ai.onnxruntime.OrtEnvironment;
import ai.onnxruntime.OrtException;
import ai.onnxruntime.OrtLoggingLevel;
import ai.onnxruntime.OrtSession;
import io.nit.runtime.engine.EngineException;
import io.nit.runtime.engine.EngineOptions;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;

/** Opens and closes sessions, all the same way. */
final class OrtSessions {
  /** What a kind of model sets beside the common settings. */
  @FunctionalInterface
  interface Settings {
    void apply(OrtSession.SessionOptions settings) throws OrtException;
  }

  /** Looks at a loaded model. */
  @FunctionalInterface
  interface Check {
    void check(OrtSession session) throws EngineException, OrtException;
  }

  private OrtSessions() {}

  /**
   * Loads a model file.
   *
   * @param model the ONNX file; external data lies beside it
   * @return the session, which the caller closes
   * @throws NoSuchFileException if there is no such file
   * @throws EngineException if ONNX Runtime does not take the file, or what {@code check} throws
   */
  static OrtSession open(Path model, EngineOptions options, Settings more, Check check)
      throws NoSuchFileException, EngineException {
    if (!Files.isRegularFile(model)) {
      throw new NoSuchFileException(model.toString(), null, "no such model file");
    }
    OrtEnvironment environment = OrtNative.environment();
    OrtSession session = null;
    try (OrtSession.SessionOptions settings = new OrtSession.SessionOptions()) {
      settings.setSessionLogLevel(OrtLoggingLevel.ORT_LOGGING_LEVEL_ERROR);
      if (options.threads() > 0) {
        settings.setIntraOpNumThreads(options.threads());
      }
      more.apply(settings);
      session = environment.createSession(model.toString(), settings);
      check.check(session);
      return session;
    } catch (OrtException | EngineException e) {
      closeQuietly(session, e);
      throw e instanceof EngineException mismatch
          ? mismatch
          : new EngineException("ONNX Runtime does not take " + model + ": " + e.getMessage(), e);
    }
  }

  /** Closes a session; none is fine. */
  static void close(OrtSession session) {
    if (session != null) {
      try {
        session.close();
      } catch (OrtException e) {
        throw new IllegalStateException("ONNX Runtime did not close its session", e);
      }
    }
  }

  private static void closeQuietly(OrtSession session, Exception cause) {
    try {
      close(session);
    } catch (IllegalStateException e) {
      cause.addSuppressed(e);
    }
  }
}
