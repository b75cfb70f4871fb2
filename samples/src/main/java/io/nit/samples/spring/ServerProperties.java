package io.nit.samples.spring;

import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import org.springframework.boot.context.properties.ConfigurationProperties;
import org.springframework.boot.context.properties.bind.DefaultValue;

/**
 * The server's settings, {@code nit.*} in application properties, on the command line or as {@code
 * NIT_*} in the environment. A value that does not fit ends the start with a message.
 *
 * @param bundle the folder of a model bundle that makes pictures; required
 * @param backend a backend's name, or {@code auto}
 * @param device the GPU's number
 * @param threads CPU threads of a forward; 0 for every core
 * @param maxPending requests that are waiting or under way at most; more are refused with 503
 * @param maxSteps steps that a request may ask for at most
 * @param timeout how long a request may take before it is given up with 503
 */
@ConfigurationProperties("nit")
public record ServerProperties(
    String bundle,
    @DefaultValue("auto") String backend,
    @DefaultValue("0") int device,
    @DefaultValue("0") int threads,
    @DefaultValue("64") int maxPending,
    @DefaultValue("250") int maxSteps,
    @DefaultValue("5m") Duration timeout) {

  /** Checks what can be checked without the model; the pipeline checks the rest. */
  public ServerProperties {
    if (bundle == null || bundle.isBlank()) {
      throw new IllegalArgumentException(
          "nit.bundle: expected the folder of a model bundle, found none;"
              + " start with --nit.bundle=BUNDLE or set NIT_BUNDLE");
    }
    if (!Files.isDirectory(Path.of(bundle))) {
      throw new IllegalArgumentException(
          "nit.bundle: expected the folder of a model bundle, found no folder at "
              + Path.of(bundle).toAbsolutePath());
    }
    atLeast(1, "nit.max-pending", maxPending);
    atLeast(1, "nit.max-steps", maxSteps);
    if (timeout.isNegative() || timeout.isZero()) {
      throw new IllegalArgumentException("nit.timeout: expected more than 0, found " + timeout);
    }
  }

  private static void atLeast(int least, String name, int found) {
    if (found < least) {
      throw new IllegalArgumentException(name + ": expected " + least + " or more, found " + found);
    }
  }

  /** The bundle's folder. */
  public Path folder() {
    return Path.of(bundle);
  }
}
