package io.nit.core.oracle;

import io.nit.core.config.NitConfig;
import io.nit.core.packing.PackLayout;
import io.nit.core.safetensors.TensorSource;
import io.nit.core.tensor.DType;
import java.io.IOException;
import java.util.Iterator;
import java.util.Optional;
import java.util.ServiceConfigurationError;
import java.util.ServiceLoader;
import java.util.function.Consumer;

/**
 * The forward that trained the model, in single precision and as training computes it in 16 bits.
 * Implementations have a public constructor without arguments and are listed in {@code
 * META-INF/services}.
 */
public interface ForwardOracle {
  /** What computes it, with its version and device. */
  String description();

  /**
   * Loads a checkpoint.
   *
   * @return the forward, which the caller closes
   * @throws IllegalArgumentException naming every tensor that does not fit the config
   * @throws IOException if a tensor cannot be read
   */
  Forward open(NitConfig config, TensorSource weights) throws IOException;

  /** A loaded checkpoint. One call at a time. Safe to close twice. */
  interface Forward extends AutoCloseable {
    /**
     * Velocities of a pack.
     *
     * @param layout B images, N tokens
     * @param x [N, C, p, p]
     * @param t [B], times in [0, 1]
     * @param y [B], labels
     * @param precision F32, or BF16 for linear layers and attention in bf16 with norms in f32, as
     *     PyTorch's autocast has them
     * @return [N, C, p, p]
     * @throws IllegalArgumentException if {@code precision} is another type
     */
    float[] velocities(PackLayout layout, float[] x, float[] t, long[] y, DType precision);

    @Override
    void close();
  }

  /**
   * The oracle of the class path.
   *
   * @param refusal takes the reason, where there is none or its libraries do not load
   */
  static Optional<ForwardOracle> find(Consumer<String> refusal) {
    try {
      Iterator<ForwardOracle> found =
          ServiceLoader.load(ForwardOracle.class, ForwardOracle.class.getClassLoader()).iterator();
      if (found.hasNext()) {
        return Optional.of(found.next());
      }
      refusal.accept("the trainer is not on the class path (a build with -Pgpu has it)");
    } catch (ServiceConfigurationError | LinkageError e) {
      Throwable cause = e;
      while (cause.getCause() != null) {
        cause = cause.getCause();
      }
      refusal.accept("libtorch does not load: " + cause);
    }
    return Optional.empty();
  }
}
