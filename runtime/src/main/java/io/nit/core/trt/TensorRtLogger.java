package io.nit.core.trt;

import java.util.ArrayDeque;
import java.util.Deque;
import org.bytedeco.tensorrt.nvinfer.ILogger;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * TensorRT's messages in our log, and the errors among them kept for exceptions. There is one for
 * the process, as TensorRT keeps the first that it is given and calls it from threads of its own.
 */
public final class TensorRtLogger extends ILogger {
  private static final Logger LOG = LoggerFactory.getLogger("io.nit.tensorrt");
  private static final int KEPT = 8;
  private static final int LONGEST = 600;

  private final Deque<String> errors = new ArrayDeque<>();

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
        String text = message.length() > LONGEST ? message.substring(0, LONGEST) + "…" : message;
        synchronized (errors) {
          if (errors.size() == KEPT) {
            // The first say why, the last what gave up at the end.
            String last = errors.removeLast();
            LOG.trace("left out of the summary: {}", last);
          }
          errors.add(text);
        }
      }
      case kWARNING -> LOG.debug("warning: {}", message);
      case kINFO -> LOG.trace("{}", message);
      default -> {}
    }
  }

  /** The errors since the last call, as the end of a sentence; says so where there are none. */
  public String errors() {
    synchronized (errors) {
      String all = errors.isEmpty() ? "TensorRT gave no reason" : String.join("; ", errors).strip();
      errors.clear();
      return all;
    }
  }
}
