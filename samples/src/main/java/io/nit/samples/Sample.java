package io.nit.samples;

import io.nit.runtime.SamplingException;
import io.nit.runtime.engine.EngineException;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.FileSystemException;
import java.util.concurrent.CompletionException;

/**
 * How a sample begins and ends: wrong arguments and what may go wrong in good order are one line on
 * stderr each, and exit codes 2 and 1; what is a mistake in the code keeps its stack trace.
 */
final class Sample {
  private static final int FAILED = 1;
  private static final int BAD_USAGE = 2;

  private Sample() {}

  /** What a sample does. */
  interface Body {
    void run(String[] args) throws Exception;
  }

  /**
   * Runs a sample, and ends the process if it fails.
   *
   * @param usage its name and arguments
   * @param least the fewest arguments that it takes
   * @param most the most
   */
  static void main(String usage, int least, int most, String[] args, Body body) throws Exception {
    try {
      if (args.length >= least && args.length <= most) {
        body.run(args);
        return;
      }
    } catch (NumberFormatException e) {
      // An argument that is no number: the usage says where one is expected.
    } catch (IOException
        | EngineException
        | SamplingException
        | CompletionException
        | IllegalArgumentException e) {
      System.err.println("error: " + reason(e));
      System.exit(FAILED);
    }
    System.err.println("usage: " + usage);
    System.exit(BAD_USAGE);
  }

  private static String reason(Exception e) {
    if ((e instanceof CompletionException || e instanceof UncheckedIOException)
        && e.getCause() instanceof Exception cause) {
      return reason(cause);
    }
    // Java's own message of these is the file alone.
    boolean bare = e instanceof FileSystemException file && file.getReason() == null;
    return bare || e.getMessage() == null ? e.toString() : e.getMessage();
  }
}
