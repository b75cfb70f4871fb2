package io.nit.core.trt;

import java.util.List;
import org.bytedeco.tensorrt.nvinfer.ILogger;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * TensorRT's messages in our log, and the errors among them kept for exceptions. There is one for
 * the process, as TensorRT keeps the first that it is given and calls it from threads of its own.
 */
public final class TensorRtLogger extends ILogger {
  private static final Logger LOG = LoggerFactory.getLogger("io.nit.tensorrt");

  private final ReportedErrors errors = new ReportedErrors();

  private static final class Shared {
    private static final TensorRtLogger LOGGER = new TensorRtLogger();
  }

  private TensorRtLogger() {
    super();
  }

  /** The process' logger; loads TensorRT on the first call. */
  public static TensorRtLogger shared() {
    return Shared.LOGGER;
  }

  @Override
  public void log(ILogger.Severity severity, String message) {
    try {
      take(severity.intern(), message);
    } catch (RuntimeException e) {
      LOG.warn("a message of TensorRT was lost: {}", e.toString());
    }
  }

  private void take(ILogger.Severity severity, String message) {
    switch (severity) {
      case kINTERNAL_ERROR, kERROR -> {
        LOG.debug("error: {}", message);
        errors.add(message);
      }
      case kWARNING -> LOG.debug("warning: {}", message);
      case kINFO -> LOG.trace("{}", message);
      default -> {}
    }
  }

  /** Begins a call of this thread, so that {@link #errors} leaves out what was told before. */
  public void begin() {
    errors.begin();
  }

  /**
   * The errors since this thread last began or asked, as the end of a sentence; says so where there
   * are none. Those of calls that fail on other threads meanwhile stay for them.
   */
  public String errors() {
    List<String> found = errors.take();
    return found.isEmpty() ? "TensorRT gave no reason" : String.join("; ", found).strip();
  }
}
