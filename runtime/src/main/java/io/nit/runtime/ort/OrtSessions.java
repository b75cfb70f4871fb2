package io.nit.runtime.ort;

import ai.onnxruntime.OrtException;
import ai.onnxruntime.OrtLoggingLevel;
import ai.onnxruntime.OrtSession;
import io.nit.core.io.Closing;
import io.nit.runtime.engine.EngineException;
import io.nit.runtime.engine.EngineOptions;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.regex.Pattern;

/** Opens and closes sessions, all the same way. */
final class OrtSessions {
  /**
   * What stands around an error's own words: the code that the exception has as well, and what was
   * around an error that is told a second time.
   */
  private static final Pattern AROUND =
      Pattern.compile(
          "^(?:.*\\[ONNXRuntimeError\\] : \\d+ : \\w+ : |Error code - \\w+ - message: )");

  /**
   * Where in ONNX Runtime's sources an error arose: a file with its line and a C++ function with
   * its types; or, in errors of CUDA's libraries, host, file and line.
   */
  private static final Pattern SOURCE =
      Pattern.compile(
          "\\S+\\.(?:cc|cpp|cu|cuh|h|hpp):\\d+ [\\w:<>{}*&,~ ]*(?:\\(\\))?"
              + "\\((?:[^()]|\\([^()]*\\))*\\)(?: const)?(?: \\[with [^\\]]*\\])? ?"
              + "| ; (?:hostname|file|line)=\\S+");

  /** How CUDA, cuBLAS, cuDNN and ONNX Runtime's arena say that there is not enough memory. */
  private static final Pattern NO_MEMORY =
      Pattern.compile(
          "out of memory|CUBLAS failure 3:|ALLOC_FAILED|ALLOCATION_FAILED"
              + "|Failed to allocate memory");

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

  /** Loads a model with all its settings. */
  @FunctionalInterface
  private interface Loading {
    OrtSession load(OrtSession.SessionOptions settings) throws OrtException;
  }

  private OrtSessions() {}

  /**
   * ONNX Runtime's message in one line without what only its authors need, and what to do where
   * memory ran out.
   */
  static String reason(Throwable error) {
    String message = String.valueOf(error.getMessage()).strip().replaceAll("\\s+", " ");
    message = AROUND.matcher(message).replaceFirst("");
    message = SOURCE.matcher(message).replaceAll("");
    return NO_MEMORY.matcher(message).find()
        ? "out of memory: expected more than is free (smaller packs and smaller tiles need less),"
            + " found: "
            + message
        : message;
  }

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
    return open(
        model,
        options,
        more,
        check,
        settings -> OrtNative.environment().createSession(model.toString(), settings));
  }

  /**
   * Loads a changed model.
   *
   * @param model the file that it was made from; external data lies beside it
   * @param bytes the changed one
   * @return the session, which the caller closes
   * @throws EngineException if ONNX Runtime does not take the model, or what {@code check} throws
   */
  static OrtSession open(
      Path model, byte[] bytes, EngineOptions options, Settings more, Check check)
      throws EngineException {
    return open(
        model,
        options,
        more,
        check,
        settings -> {
          settings.addConfigEntry(
              "session.model_external_initializers_file_folder_path",
              model.toAbsolutePath().getParent().toString());
          return OrtNative.environment().createSession(bytes, settings);
        });
  }

  private static OrtSession open(
      Path model, EngineOptions options, Settings more, Check check, Loading loading)
      throws EngineException {
    OrtNative.environment();
    OrtSession session = null;
    try (OrtSession.SessionOptions settings = new OrtSession.SessionOptions()) {
      settings.setSessionLogLevel(OrtLoggingLevel.ORT_LOGGING_LEVEL_ERROR);
      if (options.threads() > 0) {
        settings.setIntraOpNumThreads(options.threads());
      }
      more.apply(settings);
      session = loading.load(settings);
      check.check(session);
      return session;
    } catch (OrtException e) {
      closeAfter(e, session);
      throw new EngineException("ONNX Runtime does not take " + model + ": " + reason(e), e);
    } catch (EngineException | RuntimeException | Error e) {
      closeAfter(e, session);
      throw e;
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

  private static void closeAfter(Throwable failure, OrtSession session) {
    Closing.after(failure, () -> close(session));
  }
}
